#include "genie_env/worlds/outcome_weights.h"

#include "genie_env/models/layers/outcome.h"
#include "genie_env/models/layers/reward_bins.h"

namespace genie_env {

void ExpectOutcome(const std::string& name, OutcomeSizes sizes, int64_t inputs,
                   std::map<std::string, std::vector<int64_t>>& shapes) {
  constexpr int64_t kUnits = OutcomeSizes::kUnits;
  const int64_t outputs = Outcome::Outputs(sizes);
  shapes.insert({{name + ".units.weight", {kUnits, inputs}},
                 {name + ".units.bias", {kUnits}},
                 {name + ".output.weight", {outputs, kUnits}},
                 {name + ".output.bias", {outputs}}});
}

OutcomeWeights OutcomeOf(const std::map<std::string, at::Tensor>& tensors, const std::string& name,
                         const std::optional<RewardRange>& rewards) {
  return {.units_weight = tensors.at(name + ".units.weight"),
          .units_bias = tensors.at(name + ".units.bias"),
          .output_weight = tensors.at(name + ".output.weight"),
          .output_bias = tensors.at(name + ".output.bias"),
          .reward_bins = rewards ? RewardBins(*rewards) : at::Tensor()};
}

}  // namespace genie_env
