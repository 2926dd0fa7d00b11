#include "genie_env/worlds/outcome_config.h"

namespace genie_env {

Termination ParseTermination(const JsonFields& fields) {
  return fields.Choice("termination", "sampled", "thresholded") ? Termination::kSampled
                                                                : Termination::kThresholded;
}

OutcomeConfig ParseOutcome(const JsonFields& fields, bool linear_reward) {
  OutcomeConfig parsed;
  const JsonFields reward = fields.Object("reward");
  if (linear_reward && reward.Is("type", "linear")) {
    parsed.linear_reward = true;
  } else if (reward.Choice("type", "constant", "learned")) {
    parsed.reward_per_step = static_cast<float>(reward.Number("per_step"));
  } else {
    parsed.rewards = RewardRange{.low = reward.Number("low"), .high = reward.Number("high")};
    if (!(parsed.rewards->low < parsed.rewards->high)) {
      reward.Fail("high", "a number above \"low\"");
    }
  }
  parsed.termination =
      fields.Is("termination", "never") ? Termination::kNever : ParseTermination(fields);
  parsed.judges_termination = fields.Choice("termination_reads", "next_frame", "action");
  return parsed;
}

}  // namespace genie_env
