#include "genie_env/worlds/genie/transformer_weights.h"

namespace genie_env {
namespace {

AttentionWeights AttentionOf(const TensorMap& parameters, const std::string& name) {
  return {.norm_gain = parameters.at(name + ".norm.gain"),
          .qkv = LinearOf(parameters, name + ".qkv"),
          .query_gain = parameters.at(name + ".query_gain"),
          .output = LinearOf(parameters, name + ".output")};
}

}  // namespace

LinearWeights LinearOf(const TensorMap& parameters, const std::string& name) {
  return {.weight = parameters.at(name + ".weight"), .bias = parameters.at(name + ".bias")};
}

TransformerWeights TransformerOf(const TensorMap& parameters, const std::string& name,
                                 int64_t blocks, const BlockSizes& sizes, bool timeless) {
  TransformerWeights weights{
      .sizes = sizes, .blocks = {}, .norm_gain = parameters.at(name + ".norm.gain")};
  for (int64_t i = 0; i < blocks; ++i) {
    const std::string block = name + ".block" + std::to_string(i);
    weights.blocks.push_back(
        {.neighbours = sizes.columns > 0 ? parameters.at(block + ".neighbours") : at::Tensor(),
         .space = AttentionOf(parameters, block + ".space"),
         .time = timeless ? AttentionWeights{} : AttentionOf(parameters, block + ".time"),
         .norm_gain = parameters.at(block + ".norm.gain"),
         .widen = LinearOf(parameters, block + ".widen"),
         .narrow = LinearOf(parameters, block + ".narrow")});
  }
  return weights;
}

}  // namespace genie_env
