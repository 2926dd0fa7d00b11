#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "genie_env/models/layers/outcome_sizes.h"
#include "genie_env/models/layers/reward_range.h"

namespace genie_env {

/// The parameters of an Outcome (models/layers/outcome.h). All are float32 on the CPU.
struct OutcomeWeights {
  at::Tensor units_weight;   ///< [units, inputs]
  at::Tensor units_bias;     ///< [units]
  at::Tensor output_weight;  ///< [outputs, units]: the logits of reward_bins, the termination
  at::Tensor output_bias;    ///< [outputs]
  at::Tensor reward_bins;    ///< [bins]; undefined where rewards are not learned

  int64_t bins() const { return reward_bins.defined() ? reward_bins.size(0) : 0; }
  bool termination() const { return output_bias.size(0) > bins(); }
};

/// Adds the names and shapes of the parameters of the Outcome `name`, of `inputs` numbers, to those
/// of the tensors that a world's weights must hold.
void ExpectOutcome(const std::string& name, OutcomeSizes sizes, int64_t inputs,
                   std::map<std::string, std::vector<int64_t>>& shapes);

/// The Outcome `name` out of these tensors. rewards: where it has logits of their bins.
OutcomeWeights OutcomeOf(const std::map<std::string, at::Tensor>& tensors, const std::string& name,
                         const std::optional<RewardRange>& rewards);

}  // namespace genie_env
