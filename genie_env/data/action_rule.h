#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace genie_env {

/// How far a number of an action may lie outside of its bounds, as a share of the larger of them:
/// float32 rounds. (2 * tanh(x) may give 2.0000002.)
inline constexpr float kActionRounding = 1e-6F;

/// What the recorded actions of a game may be: whole numbers of a range, or points of a box.
struct ActionRule {
  /// The error in some numbered actions, as text; empty if there is none.
  std::string Complaint(std::span<const int64_t> actions) const;

  /// The same of points of `width` numbers each, one after the other. All are finite.
  std::string Complaint(std::span<const float> actions, size_t width) const;

  bool operator==(const ActionRule&) const = default;

  int64_t least = std::numeric_limits<int64_t>::min();
  int64_t most = std::numeric_limits<int64_t>::max();
  std::vector<float> low, high;  ///< of each number of a point; empty where they are not known
};

}  // namespace genie_env
