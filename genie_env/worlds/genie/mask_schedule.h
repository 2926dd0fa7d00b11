#pragma once

#include <cstdint>
#include <vector>

namespace genie_env {

/// Which masked tokens a pass of MaskGIT (Chang et al. 2022) unmasks.
enum class UnmaskOrder : uint8_t {
  /// The tokens whose likeliest code has the highest probability; ties by position. The choice
  /// depends on the tokens that are known and never on the draws of this pass. The product of the
  /// draws' probabilities is then the probability of the frame.
  kConfidence,
  kRandom,  ///< The tokens with the largest random numbers, as training draws its masks.
};

/// How many of `positions` tokens are still masked after each of `passes` passes: the cosine
/// schedule, floor(positions cos(pi / 2 * pass / passes)). The last number is 0.
std::vector<int64_t> MaskSchedule(int64_t positions, int64_t passes);

}  // namespace genie_env
