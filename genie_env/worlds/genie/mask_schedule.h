#pragma once

#include <cstdint>
#include <vector>

namespace genie_env {

/// Which of the hidden tokens a pass of MaskGIT (Chang et al. 2022) settles.
enum class UnmaskOrder : uint8_t {
  /// Those whose likeliest code is the most certain; ties by position. What is settled next depends
  /// on what is known, never on what is drawn: the product of the draws' probabilities is then the
  /// probability of the frame, and its logarithm an honest surprise.
  kConfidence,
  kRandom,  ///< by random numbers, as masks were drawn in training
};

/// How many of `positions` tokens are still hidden after each of `passes` passes: the cosine
/// schedule, floor(positions cos(pi / 2 * pass / passes)). The last is 0.
std::vector<int64_t> HiddenAfterPasses(int64_t positions, int64_t passes);

}  // namespace genie_env
