#pragma once

#include <cstdint>

// Without LibTorch: a world's configuration can be read, and refused, by itself.

namespace genie_env {

inline constexpr int64_t kRewardBins = 63;  ///< see reward_bins.h

/// The smallest and the largest reward that was recorded; finite, low below high.
struct RewardRange {
  double low = 0;
  double high = 0;
};

}  // namespace genie_env
