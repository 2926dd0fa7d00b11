#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tanh.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "genie_env/core/random.h"
#include "genie_env/models/layers/reward_bins.h"
#include "genie_env/worlds/vision_memory/frozen_memory.h"

namespace genie_env {
namespace {

class MemoryTorch final : public FrozenMemory {
 public:
  MemoryTorch(const MemoryWeights& weights, at::Device device, at::ScalarType dtype)
      : sizes_(weights.sizes()),
        dtype_(dtype),
        weight_(at::cat({weights.weight_ih, weights.weight_hh}, 1).to(device, dtype)),
        bias_(weights.bias.to(device, dtype)),
        output_weight_(weights.output_weight.to(device, dtype)),
        output_bias_(weights.output_bias.to(device, dtype)),
        outcome_(weights.outcome) {
    if (weights.reward_weight.defined()) {
      reward_weight_ = weights.reward_weight.to(device);
      reward_bias_ = weights.reward_bias.to(device);
    }
    if (weights.action_inputs.defined()) action_inputs_ = weights.action_inputs.to(device);
    if (!outcome_) return;
    for (at::Tensor* tensor : {&outcome_->units_weight, &outcome_->units_bias,
                               &outcome_->output_weight, &outcome_->output_bias}) {
      *tensor = tensor->to(device, dtype);
    }
    if (outcome_->reward_bins.defined()) outcome_->reward_bins = outcome_->reward_bins.to(device);
  }

  void Begin(const MemoryState& state, const at::Tensor& rows, const at::Tensor& z) const override {
    const at::Tensor begun = rows.to(z.device());
    state.z.index_copy_(0, begun, z);
    state.h.index_fill_(0, begun, 0);
    state.c.index_fill_(0, begun, 0);
    state.restart.index_fill_(0, begun, 1);
  }

  MemoryOutcome Dream(const MemoryState& state, const at::Tensor& actions,
                      const MixtureDraws& draws,
                      const MemoryState& observation_out) const override {
    const Advanced next = Advance(state, actions);
    const Mixture mixture = Split(next.output);
    const at::Tensor tau = draws.temperature.unsqueeze(1);
    // Added one by one: other sums of the same numbers may grow where a weight is 0.
    std::vector<at::Tensor> sums = at::softmax(mixture.logits / tau.unsqueeze(2), 2).unbind(2);
    for (size_t k = 1; k < sums.size(); ++k) sums[k] = sums[k - 1] + sums[k];
    const at::Tensor aim = draws.uniform.clamp_min(kLeastUniform) * sums.back();
    const at::Tensor component =
        (at::stack(sums, 2).narrow(2, 0, sizes_.components - 1) < aim.unsqueeze(2))
            .sum(2, /*keepdim=*/true)
            .expand({-1, sizes_.latents, 1});  // of one mixture to all dimensions
    const at::Tensor mean = mixture.means.gather(2, component).squeeze(2);
    const at::Tensor log_std = mixture.log_stds.gather(2, component).squeeze(2);
    const at::Tensor z = mean + log_std.exp() * tau.sqrt() * draws.normal;
    MemoryOutcome outcome = OutcomeOf(next, mixture, z);
    Write(next, z, state);
    Write(next, z, observation_out);
    return outcome;
  }

  MemoryOutcome Follow(const MemoryState& state, const at::Tensor& actions,
                       const at::Tensor& z) const override {
    const Advanced next = Advance(state, actions);
    MemoryOutcome outcome = OutcomeOf(next, Split(next.output), z);
    Write(next, z, state);
    return outcome;
  }

 private:
  struct Advanced {
    at::Tensor c, h;
    at::Tensor output;  // float32 [N, sizes_.output()]
  };
  struct Mixture {
    at::Tensor logits;           // float32 [N, mixtures, components]
    at::Tensor means, log_stds;  // float32 [N, latents, components]
  };

  // Computes one LSTM step; does not write the state.
  Advanced Advance(const MemoryState& state, const at::Tensor& actions) const {
    const at::Tensor action =
        action_inputs_.defined() ? action_inputs_.index_select(0, actions) : actions;
    const at::Tensor input = at::cat({state.z, action, state.restart.unsqueeze(1), state.h}, 1);
    const std::vector<at::Tensor> gates =
        at::linear(input.to(dtype_), weight_, bias_).to(at::kFloat).chunk(4, 1);
    const at::Tensor c =
        at::sigmoid(gates[1]) * state.c + at::sigmoid(gates[0]) * at::tanh(gates[2]);
    const at::Tensor h = at::sigmoid(gates[3]) * at::tanh(c);
    const at::Tensor output = at::linear(h.to(dtype_), output_weight_, output_bias_);
    return {.c = c, .h = h, .output = output.to(at::kFloat)};
  }

  static void Write(const Advanced& next, const at::Tensor& z, const MemoryState& state) {
    if (state.c.defined()) state.c.copy_(next.c);
    if (state.h.defined()) state.h.copy_(next.h);
    if (state.z.defined()) state.z.copy_(z);
  }

  Mixture Split(const at::Tensor& output) const {
    const int64_t components = sizes_.components, mixtures = sizes_.mixtures();
    const int64_t weights = mixtures * components, gaussians = sizes_.latents * components;
    const auto part = [&](int64_t first, int64_t size) {
      return output.narrow(1, first, size).unflatten(1, {-1, components});
    };
    return {part(0, weights), part(weights, gaussians), part(weights + gaussians, gaussians)};
  }

  // -log p(z) / latents: [N].
  at::Tensor Surprise(const Mixture& mixture, const at::Tensor& z) const {
    const at::Tensor deviation = (z.unsqueeze(2) - mixture.means) * mixture.log_stds.neg().exp();
    const at::Tensor log_weight = at::log_softmax(mixture.logits, 2);
    const double log_sqrt_two_pi = 0.5 * std::log(2 * std::numbers::pi);
    if (sizes_.mixture == MixtureKind::kJoint) {
      const at::Tensor exponent = mixture.log_stds + 0.5 * deviation.square();
      const at::Tensor joint = log_weight.squeeze(1) - exponent.sum(1);
      return log_sqrt_two_pi - at::logsumexp(joint, {1}) / static_cast<double>(sizes_.latents);
    }
    const at::Tensor joint =
        log_weight - mixture.log_stds - 0.5 * deviation.square() - log_sqrt_two_pi;
    return at::logsumexp(joint, {2}).mean(1).neg();
  }

  MemoryOutcome OutcomeOf(const Advanced& next, const Mixture& mixture, const at::Tensor& z) const {
    const at::Tensor logit = next.output.select(1, next.output.size(1) - 1).clone();
    MemoryOutcome outcome{.termination_logit = logit, .surprise = Surprise(mixture, z) + 0 * logit};
    if (outcome_) Judge(next.h, z, outcome);
    if (reward_weight_.defined()) {
      outcome.reward = at::linear(next.h, reward_weight_, reward_bias_).squeeze(1);
    }
    return outcome;
  }

  void Judge(const at::Tensor& h, const at::Tensor& z, MemoryOutcome& outcome) const {
    const at::Tensor units = at::relu(
        at::linear(at::cat({h, z}, 1).to(dtype_), outcome_->units_weight, outcome_->units_bias));
    const at::Tensor output =
        at::linear(units, outcome_->output_weight, outcome_->output_bias).to(at::kFloat);
    if (outcome_->termination()) outcome.termination_logit += output.select(1, output.size(1) - 1);
    if (outcome_->bins() == 0) return;
    outcome.reward = ExpectedReward(output.narrow(1, 0, outcome_->bins()), outcome_->reward_bins);
  }

  MemorySizes sizes_;
  at::ScalarType dtype_;
  at::Tensor weight_, bias_, output_weight_, output_bias_;
  at::Tensor action_inputs_;  // undefined: actions are in a box
  std::optional<OutcomeWeights> outcome_;
  at::Tensor reward_weight_, reward_bias_;  // float32; undefined where no reward is linear in h
};

}  // namespace

std::unique_ptr<const FrozenMemory> MakeMemoryTorch(const MemoryWeights& weights, at::Device device,
                                                    at::ScalarType dtype) {
  return std::make_unique<MemoryTorch>(weights, device, dtype);
}

}  // namespace genie_env
