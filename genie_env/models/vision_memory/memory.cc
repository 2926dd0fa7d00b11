#include "genie_env/models/vision_memory/memory.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/lstm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include "genie_env/core/limits.h"
#include "genie_env/models/layers/termination_loss.h"
#include "genie_env/models/vision_memory/mixture.h"
#include "genie_env/tensor/check_tensor.h"

namespace genie_env {
namespace {

MemorySizes CheckedSizes(const MemorySizes& sizes) {
  CheckSize("latents", sizes.latents, kMaxLatents);
  CheckSize("hidden", sizes.hidden, kMaxHidden);
  CheckSize("components", sizes.components, kMaxComponents);
  CheckSize("actions", sizes.actions, kMaxActions);
  return sizes;
}

}  // namespace

Memory::Memory(MemorySizes sizes, uint64_t seed, std::optional<RewardRange> rewards,
               bool judges_termination)
    : Model("Memory"), sizes_(CheckedSizes(sizes)), judges_termination_(judges_termination) {
  const double bound = 1 / std::sqrt(static_cast<double>(sizes.hidden));
  const int64_t gates = 4 * sizes.hidden;
  weight_ih_ =
      register_parameter("weight_ih", InitialWeight({gates, sizes.input()}, bound, seed, 0));
  weight_hh_ =
      register_parameter("weight_hh", InitialWeight({gates, sizes.hidden}, bound, seed, 1));
  bias_ = register_parameter("bias", InitialWeight({gates}, bound, seed, 2));
  output_ = register_module(
      "output", std::make_shared<Affine>(std::vector<int64_t>{sizes.output(), sizes.hidden},
                                         sizes.output(), sizes.hidden, seed, 2));
  if (rewards) reward_bins_ = RewardBins(*rewards);
  const OutcomeSizes outcome{.reward = rewards.has_value(), .termination = judges_termination};
  if (!outcome.any()) return;
  outcome_ = register_module(
      "outcome", std::make_shared<Outcome>(outcome, sizes.hidden + sizes.latents, seed, 3));
}

at::Tensor Memory::Recur(const at::Tensor& input) const {
  const at::Tensor state = at::zeros({1, input.size(0), sizes_.hidden}, input.options());
  // torch's LSTM takes two biases and adds them; the second is a constant zero here.
  const at::Tensor no_bias = at::zeros_like(bias_);
  return std::get<0>(at::lstm(input, {state, state}, {weight_ih_, weight_hh_, bias_, no_bias},
                              /*has_biases=*/true, /*num_layers=*/1, /*dropout=*/0.0,
                              /*train=*/false, /*bidirectional=*/false, /*batch_first=*/true));
}

at::Tensor Memory::Mixture(const at::Tensor& hidden) const {
  // The parameters have a dimension's components side by side. Computing is faster with the latents
  // innermost, and permuting the rows of the weights costs almost nothing.
  const int64_t latents = sizes_.latents, components = sizes_.components;
  const int64_t mixtures = sizes_.mixtures();
  const auto components_first = [&](const at::Tensor& parameter) {
    const auto part = [&](int64_t first, int64_t parts, int64_t dimensions) {
      return parameter.narrow(0, first, parts * dimensions * components)
          .unflatten(0, {parts, dimensions, components})
          .transpose(1, 2)
          .flatten(0, 2);
    };
    return at::cat({part(0, 1, mixtures), part(mixtures * components, 2, latents)});
  };
  return at::linear(hidden, components_first(output_->weight), components_first(output_->bias));
}

at::Tensor Memory::TerminationLogit(const at::Tensor& hidden) const {
  const int64_t last = sizes_.output() - 1;
  const at::Tensor logit =
      at::linear(hidden, output_->weight.narrow(0, last, 1), output_->bias.narrow(0, last, 1));
  return logit.squeeze(-1).to(at::kFloat);
}

Memory::Reading Memory::Read(const TensorMap& batch, TrainingNoise& noise, bool drop) const {
  const at::Tensor& mu = Take(batch, "mu");
  CheckTensor(mu, "mu", at::kFloat, {-1, -1, sizes_.latents});
  const int64_t rows = mu.size(0), frames = mu.size(1);
  if (mu.numel() == 0) {
    throw std::invalid_argument("mu: got " + Describe(mu) + ", expected at least one frame");
  }
  CheckTensor(Take(batch, "logvar"), "logvar", at::kFloat, {rows, frames, sizes_.latents});
  CheckTensor(Take(batch, "actions"), "actions", at::kFloat, {rows, frames, sizes_.actions});
  for (const char* name : {"restarts", "finals"}) {
    CheckTensor(Take(batch, name), name, at::kFloat, {rows, frames});
  }
  const at::Device device = bias_.device();
  const auto take = [&](const char* name) { return Take(batch, name).to(device); };
  // One draw for each latent, then one for each hidden unit of a window.
  const int64_t values = mu.numel(), dropped = drop ? rows * sizes_.hidden : 0;
  const at::Tensor draws = noise.Normal({values + dropped}, device);
  const at::Tensor restarts = take("restarts"), acted = 1 - take("finals");
  Reading reading{
      .z = take("mu") + (0.5 * take("logvar")).exp() * draws.narrow(0, 0, values).view_as(mu),
      .hidden = {},
      .read = at::ones({1, 1, 1}, mu.options().device(device)),
      .acted = acted,
      .followed = at::zeros_like(acted)};
  reading.hidden = Recur(at::cat({reading.z, take("actions"), restarts.unsqueeze(-1)}, -1));
  reading.followed.narrow(1, 0, frames - 1).copy_(1 - restarts.narrow(1, 1, frames - 1));
  // The units that are read are doubled, so that the expected sum is that of all.
  if (drop) {
    reading.read = 2 * (draws.narrow(0, values, dropped) > 0).to(at::kFloat);
    reading.read = reading.read.view({rows, 1, sizes_.hidden});
  }
  return reading;
}

Judgement Memory::JudgeRead(const Reading& reading) const {
  const at::Tensor read = reading.hidden * reading.read;
  Judgement judgement{.reward_logits = {}, .termination_logit = TerminationLogit(read)};
  if (!outcome_) return judgement;
  const int64_t followed = reading.z.size(1) - 1;
  const at::Tensor hidden = read.narrow(1, 0, followed);
  const at::Tensor next = reading.z.narrow(1, 1, followed).to(hidden.scalar_type());
  const Judgement judged = outcome_->Judge(at::cat({hidden, next}, -1));
  judgement.reward_logits = judged.reward_logits;
  if (judges_termination_) {
    const at::Tensor none = at::zeros({reading.z.size(0), 1}, judged.termination_logit.options());
    judgement.termination_logit =
        judgement.termination_logit + at::cat({judged.termination_logit, none}, 1);
  }
  return judgement;
}

Memory::Outcomes Memory::JudgeWindows(const TensorMap& batch, TrainingNoise& noise) const {
  const Reading reading = Read(batch, noise, /*drop=*/false);
  const Judgement judgement = JudgeRead(reading);
  Outcomes outcomes{.termination_logits = judgement.termination_logit,
                    .judged = (judges_termination_ ? reading.followed : reading.acted) > 0,
                    .rewards = {},
                    .followed = reading.followed > 0};
  if (reward_bins_.defined()) {
    outcomes.rewards = at::zeros_like(reading.acted);
    outcomes.rewards.narrow(1, 0, reading.z.size(1) - 1)
        .copy_(ExpectedReward(judgement.reward_logits, reward_bins_.to(reading.z.device())));
  }
  return outcomes;
}

Loss Memory::ComputeLoss(const TensorMap& batch, TrainingNoise& noise) {
  const Reading reading = Read(batch, noise, /*drop=*/is_training());
  const at::Tensor& z = reading.z;
  const int64_t rows = z.size(0), frames = z.size(1), followed = frames - 1;
  const auto take = [&](const char* name) {
    CheckTensor(Take(batch, name), name, at::kFloat, {rows, frames});
    return Take(batch, name).to(z.device());
  };
  const at::Tensor terminations = take("terminations");

  const at::Tensor weight = reading.followed / reading.followed.sum().clamp_min(1);
  const at::Tensor before_last = weight.narrow(1, 0, followed).flatten();
  const at::Tensor nll = MixtureNegativeLogLikelihood(
      Mixture(reading.hidden).narrow(1, 0, followed).flatten(0, 1), sizes_.components,
      z.narrow(1, 1, followed).flatten(0, 1), before_last);

  const Judgement judgement = JudgeRead(reading);
  Loss loss{.total = nll, .terms = {{"nll", nll.detach()}}};
  AddTerminationLoss(judgement.termination_logit, terminations,
                     judges_termination_ ? reading.followed : reading.acted, loss);
  if (reward_bins_.defined()) {
    const at::Tensor rewards = take("rewards").narrow(1, 0, followed).flatten();
    const at::Tensor reward = (RewardCrossEntropy(judgement.reward_logits.flatten(0, 1), rewards,
                                                  reward_bins_.to(z.device())) *
                               before_last)
                                  .sum();
    loss.total = loss.total + reward;
    loss.terms.emplace("reward", reward.detach());
  }
  return loss;
}

}  // namespace genie_env
