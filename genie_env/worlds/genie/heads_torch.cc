#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>

#include "genie_env/models/layers/reward_bins.h"
#include "genie_env/worlds/genie/frozen_heads.h"

namespace genie_env {
namespace {

class HeadsTorch final : public FrozenHeads {
 public:
  HeadsTorch(const HeadsWeights& weights, at::Device device)
      : one_hot_(at::eye(weights.actions, at::TensorOptions(device).dtype(at::kFloat))),
        outcome_(On(device, weights.outcome)),
        ending_(On(device, weights.ending)) {}

  HeadsOutcome Judge(const at::Tensor& before, const at::Tensor& actions,
                     const at::Tensor& after) const override {
    const at::Tensor action = one_hot_.index_select(0, actions);
    HeadsOutcome found;
    if (outcome_) Read(*outcome_, at::cat({before, action, after}, 1), found);
    if (ending_) Read(*ending_, at::cat({before, action}, 1), found);
    return found;
  }

 private:
  static std::optional<OutcomeWeights> On(at::Device device,
                                          std::optional<OutcomeWeights> weights) {
    if (!weights) return weights;
    for (at::Tensor* tensor : {&weights->units_weight, &weights->units_bias,
                               &weights->output_weight, &weights->output_bias}) {
      *tensor = tensor->to(device);
    }
    if (weights->reward_bins.defined()) weights->reward_bins = weights->reward_bins.to(device);
    return weights;
  }

  static void Read(const OutcomeWeights& head, const at::Tensor& input, HeadsOutcome& found) {
    const at::Tensor units = at::relu(at::linear(input, head.units_weight, head.units_bias));
    const at::Tensor output = at::linear(units, head.output_weight, head.output_bias);
    if (head.termination()) {
      found.termination_logit = output.select(1, output.size(1) - 1).contiguous();
    }
    if (head.bins() == 0) return;
    found.reward = ExpectedReward(output.narrow(1, 0, head.bins()), head.reward_bins);
  }

  at::Tensor one_hot_;  // [actions, actions]
  std::optional<OutcomeWeights> outcome_, ending_;
};

}  // namespace

std::unique_ptr<const FrozenHeads> MakeHeadsTorch(const HeadsWeights& weights, at::Device device) {
  return std::make_unique<HeadsTorch>(weights, device);
}

}  // namespace genie_env
