#include "genie_env/models/genie/dynamics.h"

#include <torch/csrc/utils/pybind.h>

#include <optional>

#include "bindings/calls.h"
#include "genie_env/core/transformer_constants.h"
#include "genie_env/tensor/frozen_scope.h"

namespace genie_env {
namespace py = pybind11;

void InitDynamics(py::module_& m) {
  const DynamicsSizes defaults;
  py::class_<Dynamics, Model, std::shared_ptr<Dynamics>>(m, "Dynamics", R"(
The dynamics of Genie: tokens of past frames and latent actions -> the tokens of the next frame.

Training has two streams. Clean frames provide keys and values; the masked copy of a frame attends
to the clean frames before it, within an attention window of `window` frames, and to itself.
`action_codes` is the codebook of the latent action model, float32 [actions, dimensions].
`token_codes`, float32 [codes, dimensions], is Tokenizer.codebook(): embeddings and rows of the
output layer are initialised with random linear maps of it, with independent weights where it is
None; it is not stored. Raises ValueError for another shape, dtype or a value that is not finite.
`passes`,
the most passes a frame in sampling, sets how much of a frame is masked. With `columns`, the tokens
in a row of a frame, each token is embedded together with the one that was at its place a frame
before, and each block begins with a depthwise convolution over the 3 x 3 neighbours of a token (Chu
et al. 2021, Conditional Positional Encodings); with 0 neither is there.
)")
      .def(py::init([](const at::Tensor& action_codes, int64_t positions, int64_t codes,
                       int64_t width, int64_t heads, int64_t blocks, int64_t window, int64_t passes,
                       int64_t columns, uint64_t seed,
                       const std::optional<at::Tensor>& token_codes) {
             return std::make_shared<Dynamics>(DynamicsSizes{.positions = positions,
                                                             .codes = codes,
                                                             .block = {width, heads, columns},
                                                             .blocks = blocks,
                                                             .window = window,
                                                             .passes = passes},
                                               action_codes, seed,
                                               token_codes.value_or(at::Tensor()));
           }),
           py::arg("action_codes"), py::kw_only(), py::arg("positions") = defaults.positions,
           py::arg("codes") = defaults.codes, py::arg("width") = defaults.block.width,
           py::arg("heads") = defaults.block.heads, py::arg("blocks") = defaults.blocks,
           py::arg("window") = defaults.window, py::arg("passes") = defaults.passes,
           py::arg("columns") = defaults.block.columns, py::arg("seed") = 0,
           py::arg("token_codes") = py::none())
      .def_property_readonly_static(
          "feed_forward_factor", [](const py::object&) { return kFeedForwardFactor; },
          "Hidden units of a block's feed-forward network, per unit of its width.")
      .def_property_readonly("mask_token", &Dynamics::mask_token, "The value of a masked token.")
      .def_property_readonly("actions", &Dynamics::actions)
      .def(
          "logits",
          [](const Dynamics& dynamics, const at::Tensor& tokens, const at::Tensor& masked,
             const at::Tensor& actions) {
            return Reading(dynamics, "logits", [&] {
              const FrozenScope scope;
              return dynamics.Logits(tokens, masked, actions);
            });
          },
          py::arg("tokens"), py::arg("masked"), py::arg("actions"), R"(
tokens: int64 [N, T, S], the clean frames. masked: int64 [N, T - 1, S], those from the second on,
mask_token where a token is masked. actions: int64 [N, T - 1], action t from frame t to t + 1.
Returns the logits of the masked frames' tokens: float32 [N, T - 1, S, codes].
)")
      .def(
          "cross_entropy_by_frame",
          [](const Dynamics& dynamics, const at::Tensor& tokens, const at::Tensor& actions) {
            return Reading(dynamics, "cross_entropy_by_frame", [&] {
              const FrozenScope scope;
              return dynamics.CrossEntropyByFrame(tokens, actions);
            });
          },
          py::arg("tokens"), py::arg("actions"),
          "int64 [N, T, S] and [N, T - 1] -> nats a token of each frame from the second on, with "
          "all "
          "its tokens masked: float32 [T - 1].");
}

}  // namespace genie_env
