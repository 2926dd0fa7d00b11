#pragma once

#include <cstdint>

// Without LibTorch: a world's configuration can be read, and refused, by itself.

namespace genie_env {

/// What an action brought is judged by one layer of kUnits rectified units (see outcome.h).
struct OutcomeSizes {
  static constexpr int64_t kUnits = 256;

  bool reward = false;       ///< whether there are logits of reward bins (kRewardBins)
  bool termination = false;  ///< whether there is a termination logit

  bool any() const { return reward || termination; }
};

}  // namespace genie_env
