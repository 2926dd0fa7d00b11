#include "genie_env/models/genie/heads.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/one_hot.h>
#include <ATen/ops/ones_like.h>

#include <stdexcept>
#include <string>

#include "genie_env/core/limits.h"
#include "genie_env/models/layers/termination_loss.h"
#include "genie_env/tensor/check_tensor.h"

namespace genie_env {

Heads::Heads(HeadsSizes sizes, std::optional<RewardRange> rewards, uint64_t seed)
    : Model("Heads"), sizes_(sizes) {
  CheckSize("features", sizes.features, DynamicsSizes::kFeatureAreas * kMaxWidth);
  CheckSize("actions", sizes.actions, kMaxLatentActions);
  if (sizes.reward != rewards.has_value()) {
    throw std::invalid_argument("the range of rewards goes with heads that learn them");
  }
  if (!sizes.reward && !sizes.termination) {
    throw std::invalid_argument("heads learn rewards, terminations or both: neither was asked for");
  }
  if (rewards) reward_bins_ = RewardBins(*rewards);
  const auto head = [&](const char* name, OutcomeSizes outputs, int64_t inputs, uint32_t layer) {
    return outputs.any()
               ? register_module(name, std::make_shared<Outcome>(outputs, inputs, seed, layer))
               : nullptr;
  };
  outcome_ = head("outcome", sizes.outcome(), sizes.outcome_inputs(), 0);
  ending_ = head("ending", sizes.ending(), sizes.ending_inputs(), 2);
}

Judgement Heads::JudgeInputs(const at::Tensor& before, const at::Tensor& actions,
                             const at::Tensor& after) const {
  const at::Tensor one_hot = at::one_hot(actions, sizes_.actions).to(at::kFloat);
  Judgement judgement;
  if (outcome_) judgement = outcome_->Judge(at::cat({before, one_hot, after}, 1));
  if (ending_) {
    judgement.termination_logit = ending_->Judge(at::cat({before, one_hot}, 1)).termination_logit;
  }
  return judgement;
}

void Heads::Check(const at::Tensor& before, const at::Tensor& actions,
                  const at::Tensor& after) const {
  CheckTensor(before, "before", at::kFloat, {-1, sizes_.features});
  const int64_t steps = before.size(0);
  if (steps == 0) throw std::invalid_argument("before: expected at least one step");
  CheckTensor(after, "after", at::kFloat, {steps, sizes_.features});
  CheckTensor(actions, "actions", at::kLong, {steps});
  if (((actions < 0) | (actions >= sizes_.actions)).any().item<bool>()) {
    throw std::invalid_argument("an action is outside 0 .. " + std::to_string(sizes_.actions - 1) +
                                ": the actions are of another latent action model");
  }
}

Heads::Judged Heads::Judge(const at::Tensor& before, const at::Tensor& actions,
                           const at::Tensor& after) const {
  Check(before, actions, after);
  const at::Device device = parameters().front().device();
  const Judgement judgement = JudgeInputs(before.to(device), actions.to(device), after.to(device));
  Judged judged{.rewards = {}, .termination_logits = judgement.termination_logit};
  if (reward_bins_.defined()) {
    judged.rewards = ExpectedReward(judgement.reward_logits, reward_bins_.to(device));
  }
  return judged;
}

Loss Heads::ComputeLoss(const TensorMap& batch, TrainingNoise& /*noise*/) {
  const at::Tensor &before = Take(batch, "before"), &actions = Take(batch, "actions"),
                   &after = Take(batch, "after");
  Check(before, actions, after);
  const at::Device device = parameters().front().device();
  const auto take = [&](const char* name) {
    CheckTensor(Take(batch, name), name, at::kFloat, {before.size(0)});
    return Take(batch, name).to(device);
  };
  const at::Tensor followed = take("followed"), rewards = take("rewards"),
                   terminations = take("terminations");
  const Judgement judgement = JudgeInputs(before.to(device), actions.to(device), after.to(device));
  Loss loss;
  if (sizes_.termination) {
    AddTerminationLoss(judgement.termination_logit, terminations,
                       ending_ ? at::ones_like(followed) : followed, loss);
  }
  if (sizes_.reward) {
    const at::Tensor weight = followed / followed.sum().clamp_min(1);
    const at::Tensor cross_entropy =
        RewardCrossEntropy(judgement.reward_logits, rewards, reward_bins_.to(device));
    const at::Tensor reward = (cross_entropy * weight).sum();
    loss.total = loss.total.defined() ? loss.total + reward : reward;
    loss.terms.emplace("reward", reward.detach());
  }
  return loss;
}

}  // namespace genie_env
