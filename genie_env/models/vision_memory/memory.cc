#include "genie_env/models/vision_memory/memory.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/lstm.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include "genie_env/core/limits.h"
#include "genie_env/models/vision_memory/mixture.h"
#include "genie_env/tensor/check_tensor.h"

namespace genie_env {
namespace {

MemorySizes CheckedSizes(const MemorySizes& sizes) {
  CheckSize("latents", sizes.latents, kMaxLatents);
  CheckSize("hidden", sizes.hidden, kMaxHidden);
  CheckSize("components", sizes.components, kMaxComponents);
  return sizes;
}

}  // namespace

Memory::Memory(MemorySizes sizes, uint64_t seed) : Model("Memory"), sizes_(CheckedSizes(sizes)) {
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
}

at::Tensor Memory::Recur(const at::Tensor& input) const {
  const at::Tensor state = at::zeros({1, input.size(0), sizes_.hidden}, input.options());
  // torch's LSTM takes two biases and adds them; the second is a constant zero here.
  const at::Tensor no_bias = at::zeros_like(bias_);
  return std::get<0>(at::lstm(input, {state, state}, {weight_ih_, weight_hh_, bias_, no_bias},
                              /*has_biases=*/true, /*num_layers=*/1, /*dropout=*/0.0,
                              /*train=*/false, /*bidirectional=*/false, /*batch_first=*/true));
}

Prediction Memory::Predict(const at::Tensor& hidden) const {
  return {.mixture = Mixture(hidden), .termination_logit = TerminationLogit(hidden)};
}

at::Tensor Memory::Mixture(const at::Tensor& hidden) const {
  // The parameters have a dimension's components side by side. Computing is faster with the latents
  // innermost, and permuting the rows of the weights costs almost nothing.
  const int64_t latents = sizes_.latents, components = sizes_.components;
  const int64_t mixture_size = sizes_.output() - 1;
  const at::Tensor weight = output_->weight.narrow(0, 0, mixture_size)
                                .view({3, latents, components, sizes_.hidden})
                                .transpose(1, 2)
                                .reshape({mixture_size, sizes_.hidden});
  const at::Tensor bias = output_->bias.narrow(0, 0, mixture_size)
                              .view({3, latents, components})
                              .transpose(1, 2)
                              .reshape({mixture_size});
  std::vector<int64_t> shape(hidden.sizes().begin(), hidden.sizes().end() - 1);
  shape.insert(shape.end(), {3, components, latents});
  return at::linear(hidden, weight, bias).view(shape);
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
  for (const char* name : {"actions", "restarts"}) {
    CheckTensor(Take(batch, name), name, at::kFloat, {rows, frames});
  }
  const at::Device device = bias_.device();
  const auto take = [&](const char* name) { return Take(batch, name).to(device); };
  // One draw for each latent, then one for each hidden unit of a window.
  const int64_t values = mu.numel(), dropped = drop ? rows * sizes_.hidden : 0;
  const at::Tensor draws = noise.Normal({values + dropped}, device);
  at::Tensor z = take("mu") + (0.5 * take("logvar")).exp() * draws.narrow(0, 0, values).view_as(mu);
  const at::Tensor hidden =
      Recur(at::cat({z, take("actions").unsqueeze(-1), take("restarts").unsqueeze(-1)}, -1));
  if (!drop) return {.z = std::move(z), .prediction = Predict(hidden)};
  // The units that are read are doubled, so that the expected sum is that of all.
  const at::Tensor read = 2 * (draws.narrow(0, values, dropped) > 0).to(at::kFloat);
  return {.z = std::move(z),
          .prediction = {
              .mixture = Mixture(hidden),
              .termination_logit = TerminationLogit(hidden * read.view({rows, 1, sizes_.hidden}))}};
}

at::Tensor Memory::TerminationLogits(const TensorMap& batch, TrainingNoise& noise) const {
  return Read(batch, noise, /*drop=*/false).prediction.termination_logit;
}

Loss Memory::ComputeLoss(const TensorMap& batch, TrainingNoise& noise) {
  const auto [z, prediction] = Read(batch, noise, /*drop=*/is_training());
  const int64_t frames = z.size(1);
  CheckTensor(Take(batch, "terminations"), "terminations", at::kFloat, {z.size(0), frames});
  const at::Tensor terminations = Take(batch, "terminations").to(z.device());
  const at::Tensor restarts = Take(batch, "restarts").to(z.device());

  // The last frame of a window or an episode has no next one to predict.
  const at::Tensor has_next = 1 - restarts.narrow(1, 1, frames - 1);
  const at::Tensor weight = has_next / has_next.sum().clamp_min(1);
  const at::Tensor nll =
      MixtureNegativeLogLikelihood(prediction.mixture.narrow(1, 0, frames - 1).flatten(0, 1),
                                   z.narrow(1, 1, frames - 1).flatten(0, 1), weight.flatten());

  const at::Tensor termination = at::binary_cross_entropy_with_logits(
      prediction.termination_logit, terminations, /*weight=*/{},
      /*pos_weight=*/at::full({}, kDeathWeight, terminations.options()));

  const at::Tensor survivals = 1 - terminations;
  const at::Tensor alarms = (prediction.termination_logit.detach() > 0).to(at::kFloat);
  return {.total = nll + termination,
          .terms = {{"nll", nll.detach()},
                    {"termination", termination.detach()},
                    {"deaths", terminations.sum()},
                    {"deaths_found", (alarms * terminations).sum()},
                    {"survivals", survivals.sum()},
                    {"false_alarms", (alarms * survivals).sum()}}};
}

}  // namespace genie_env
