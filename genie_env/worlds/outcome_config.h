#pragma once

#include <optional>

#include "genie_env/io/json_fields.h"
#include "genie_env/models/layers/outcome_sizes.h"
#include "genie_env/models/layers/reward_range.h"

namespace genie_env {

/// How dreams of a world end.
enum class Termination { kSampled, kThresholded, kNever };

/// What a config.json says of rewards and terminations.
struct OutcomeConfig {
  float reward_per_step = 0;                          ///< where rewards are not learned
  std::optional<RewardRange> rewards = std::nullopt;  ///< where they are, by bins
  bool linear_reward = false;                         ///< or as a linear function of the state
  Termination termination = Termination::kNever;      ///< "sampled", "thresholded" or "never"
  bool judges_termination = false;  ///< "termination_reads": "next_frame", not "action"

  /// Of the head that reads the next frame too.
  OutcomeSizes judged() const {
    return {.reward = rewards.has_value(), .termination = judges_termination};
  }
};

/// The fields "reward" ({"type": "constant", "per_step": 1} or {"type": "learned", "low": -1,
/// "high": 1}), "termination" and "termination_reads". linear_reward: whether the family has
/// {"type": "linear"} too. Throws FormatError naming the field.
OutcomeConfig ParseOutcome(const JsonFields& fields, bool linear_reward = false);

/// The field "termination" where it may not be "never".
Termination ParseTermination(const JsonFields& fields);

}  // namespace genie_env
