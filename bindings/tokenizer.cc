#include "genie_env/models/genie/tokenizer.h"

#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "bindings/calls.h"
#include "bindings/encoding_scope.h"
#include "genie_env/tensor/frozen_scope.h"

namespace genie_env {
namespace py = pybind11;

void InitTokenizer(py::module_& m) {
  const TokenizerSizes defaults;
  py::class_<Tokenizer, Model, std::shared_ptr<Tokenizer>>(m, "Tokenizer", R"(
The video tokenizer of Genie: a VQ-VAE over ST-transformer blocks.

Frames are cut into square patches, S of them, each of which becomes one of `codes` tokens. The
encoder is causal in time: its attention window is `window` frames, the current one included. The
decoder reads the tokens of one frame.

In training the encoder sees the frames under Gaussian noise of the deviation `noise` (pixels from 0
to 1), and with an `emphasis` pixels whose colour is rare at their place count more.
)")
      .def(py::init([](std::pair<int64_t, int64_t> frame, int64_t patch, int64_t width,
                       int64_t heads, int64_t encoder_blocks, int64_t decoder_blocks, int64_t codes,
                       int64_t code_dimensions, int64_t window, uint64_t seed, double noise,
                       double emphasis) {
             return std::make_shared<Tokenizer>(
                 TokenizerSizes{.clip = {frame.first, frame.second, patch},
                                .block = {width, heads},
                                .encoder_blocks = encoder_blocks,
                                .decoder_blocks = decoder_blocks,
                                .codes = codes,
                                .code_dimensions = code_dimensions,
                                .window = window},
                 seed, noise, emphasis);
           }),
           py::kw_only(), py::arg("frame") = std::pair(defaults.clip.height, defaults.clip.width),
           py::arg("patch") = defaults.clip.patch, py::arg("width") = defaults.block.width,
           py::arg("heads") = defaults.block.heads,
           py::arg("encoder_blocks") = defaults.encoder_blocks,
           py::arg("decoder_blocks") = defaults.decoder_blocks, py::arg("codes") = defaults.codes,
           py::arg("code_dimensions") = defaults.code_dimensions,
           py::arg("window") = defaults.window, py::arg("seed") = 0, py::arg("noise") = 0.0,
           py::arg("emphasis") = 0.0, "frame: (height, width); patch divides both.")
      .def_property_readonly("codes", [](const Tokenizer& t) { return t.sizes().codes; })
      .def_property_readonly(
          "positions", [](const Tokenizer& t) { return t.sizes().clip.positions(); },
          "S, the number of tokens a frame.")
      .def_property_readonly(
          "columns", [](const Tokenizer& t) { return t.sizes().clip.columns(); },
          "The number of tokens in a row of a frame.")
      .def_property_readonly("receptive_field", &Tokenizer::receptive_field,
                             "The number of frames that a token may depend on, its own included.")
      .def(
          "codebook",
          [](const Tokenizer& tokenizer) {
            return Reading(tokenizer, "codebook", [&] {
              const FrozenScope scope;
              return tokenizer.Codebook();
            });
          },
          "float32 [codes, code_dimensions], each of length 1: what the tokens stand for, a copy.")
      .def(
          "encode",
          [](const Tokenizer& tokenizer, const at::Tensor& frames, bool bf16) {
            return Reading(tokenizer, "encode", [&] {
              const EncodingScope scope(tokenizer, bf16);
              return tokenizer.Encode(frames);
            });
          },
          py::arg("frames"), py::kw_only(), py::arg("bf16") = false,
          "Consecutive frames, uint8 [N, T, height, width, 3] -> tokens, int64 [N, T, S]. bf16: "
          "faster, by bfloat16 autocast.")
      .def(
          "decode",
          [](const Tokenizer& tokenizer, const at::Tensor& tokens) {
            return Reading(tokenizer, "decode", [&] {
              const FrozenScope scope;
              return ToBytes(tokenizer.Decode(tokens));
            });
          },
          py::arg("tokens"), "int64 [N, T, S] -> frames, uint8 [N, T, height, width, 3].");
}

}  // namespace genie_env
