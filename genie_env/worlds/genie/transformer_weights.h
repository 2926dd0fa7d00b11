#pragma once

#include <string>
#include <vector>

#include "genie_env/models/layers/st_transformer.h"
#include "genie_env/models/model.h"

namespace genie_env {

// The parameters of an ST-transformer (models/layers/st_transformer.h); all are float32 on the CPU.

struct LinearWeights {
  at::Tensor weight;  ///< [out, in]
  at::Tensor bias;    ///< [out]
};

struct AttentionWeights {
  at::Tensor norm_gain;   ///< [width]
  LinearWeights qkv;      ///< [width] to [3 width]
  at::Tensor query_gain;  ///< [head]
  LinearWeights output;
};

struct BlockWeights {
  at::Tensor neighbours;  ///< [width, 1, 3, 3]; undefined in a block without the convolution
  AttentionWeights space;
  AttentionWeights time;  ///< undefined tensors in a timeless block
  at::Tensor norm_gain;   ///< [width]
  LinearWeights widen, narrow;
};

struct TransformerWeights {
  BlockSizes sizes;
  std::vector<BlockWeights> blocks;
  at::Tensor norm_gain;  ///< [width]
};

/// The parameters `name`.weight and `name`.bias.
LinearWeights LinearOf(const TensorMap& parameters, const std::string& name);

/// The parameters whose names begin with `name`, as StTransformer registers them.
TransformerWeights TransformerOf(const TensorMap& parameters, const std::string& name,
                                 int64_t blocks, const BlockSizes& sizes, bool timeless);

}  // namespace genie_env
