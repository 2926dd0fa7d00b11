#include "genie_env/models/genie/latent_action.h"

#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "bindings/calls.h"
#include "bindings/encoding_scope.h"
#include "genie_env/tensor/frozen_scope.h"

namespace genie_env {
namespace py = pybind11;

void InitLatentAction(py::module_& m) {
  const LatentActionSizes defaults;
  py::class_<LatentAction, Model, std::shared_ptr<LatentAction>>(m, "LatentAction", R"(
The latent action model of Genie: describes the transition between two frames by one of a few codes.

The encoder reads the frames up to the transition's second one and outputs its code. The decoder
reads the first one and the motion, action_decay * the last motion + (1 - action_decay) * the code,
and predicts the second. The encoder's attention window is `window` frames, the current included.
)")
      .def(py::init([](std::pair<int64_t, int64_t> frame, int64_t patch, int64_t width,
                       int64_t heads, int64_t encoder_blocks, int64_t decoder_blocks,
                       int64_t actions, int64_t code_dimensions, int64_t window,
                       double action_decay, uint64_t seed) {
             return std::make_shared<LatentAction>(
                 LatentActionSizes{.clip = {frame.first, frame.second, patch},
                                   .block = {width, heads},
                                   .encoder_blocks = encoder_blocks,
                                   .decoder_blocks = decoder_blocks,
                                   .actions = actions,
                                   .code_dimensions = code_dimensions,
                                   .window = window,
                                   .action_decay = action_decay},
                 seed);
           }),
           py::kw_only(), py::arg("frame") = std::pair(defaults.clip.height, defaults.clip.width),
           py::arg("patch") = defaults.clip.patch, py::arg("width") = defaults.block.width,
           py::arg("heads") = defaults.block.heads,
           py::arg("encoder_blocks") = defaults.encoder_blocks,
           py::arg("decoder_blocks") = defaults.decoder_blocks,
           py::arg("actions") = defaults.actions,
           py::arg("code_dimensions") = defaults.code_dimensions,
           py::arg("window") = defaults.window, py::arg("action_decay") = defaults.action_decay,
           py::arg("seed") = 0, "frame: (height, width); patch divides both.")
      .def_property_readonly_static(
          "variance_floor", [](const py::object&) { return LatentAction::kVarianceFloor; },
          "Added to the variance when frames are standardised, with pixels in [-0.5, 0.5].")
      .def_property_readonly("actions", [](const LatentAction& l) { return l.sizes().actions; })
      .def_property_readonly(
          "receptive_field", &LatentAction::receptive_field,
          "The number of frames that a code may depend on, the transition's second "
          "frame included.")
      .def(
          "codes",
          [](const LatentAction& actions) {
            return Reading(actions, "codes", [&] {
              const FrozenScope scope;
              return actions.Codes();
            });
          },
          "float32 [actions, code_dimensions]: the codebook, a copy.")
      .def(
          "encode",
          [](const LatentAction& actions, const at::Tensor& frames, bool bf16) {
            return Reading(actions, "encode", [&] {
              const EncodingScope scope(actions, bf16);
              return actions.Encode(frames);
            });
          },
          py::arg("frames"), py::kw_only(), py::arg("bf16") = false,
          "Consecutive frames, uint8 [N, T, height, width, 3] -> the codes of the transitions "
          "between them, int64 [N, T - 1]. bf16: faster, by bfloat16 autocast.")
      .def(
          "predict",
          [](const LatentAction& model, const at::Tensor& frames, const at::Tensor& actions) {
            return Reading(model, "predict", [&] {
              const FrozenScope scope;
              return ToBytes(model.Predict(frames, actions));
            });
          },
          py::arg("frames"), py::arg("actions"),
          "uint8 [N, T, height, width, 3] and int64 [N, T], the motion before which is 0 -> the "
          "next frame of each frame, uint8 of their shape.");
}

}  // namespace genie_env
