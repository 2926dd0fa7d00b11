#pragma once

#include <cstdint>

namespace genie_env {

// The constants of an ST-transformer that its training (models/layers) and its frozen form
// (kernels/cpu, worlds/genie) share.

/// What layer normalisation adds to the variance.
inline constexpr double kNormEpsilon = 1e-5;

/// Hidden units of a block's feed-forward network, per unit of its width.
inline constexpr int64_t kFeedForwardFactor = 4;

/// RoPE (Su et al. 2021) turns pair i of a head's numbers by time / kRopeBase^(2i / head).
inline constexpr double kRopeBase = 10000;

}  // namespace genie_env
