#include "genie_env/nn/memory.h"

#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/lstm.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <numbers>
#include <sstream>
#include <stdexcept>

namespace genie_env {
namespace {

void CheckShape(const TensorMap& batch, const std::string& name, at::IntArrayRef expected) {
  const at::Tensor& tensor = Take(batch, name);
  if (tensor.sizes() != expected || tensor.scalar_type() != at::kFloat) {
    std::ostringstream message;
    message << "\"" << name << "\" has shape " << tensor.sizes() << " and dtype "
            << tensor.scalar_type() << "; M expects float32 " << expected;
    throw std::invalid_argument(message.str());
  }
}

// log N(x; mean, exp(log_std)) of every component, weighted and summed: log p(x) per dimension.
at::Tensor LogLikelihood(const MixtureDensity& density, const at::Tensor& x) {
  const at::Tensor deviations = (x.unsqueeze(-1) - density.mean) * (-density.log_std).exp();
  const double log_sqrt_two_pi = 0.5 * std::log(2 * std::numbers::pi);
  return at::logsumexp(density.log_weight - density.log_std - 0.5 * deviations.square(), {-1}) -
         log_sqrt_two_pi;
}

}  // namespace

Memory::Memory(MemorySizes sizes, uint64_t seed) : Model("Memory"), sizes_(sizes) {
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
  // torch's LSTM wants two biases that it only ever adds; the second is a constant zero here.
  const at::Tensor no_bias = at::zeros_like(bias_);
  return std::get<0>(at::lstm(input, {state, state}, {weight_ih_, weight_hh_, bias_, no_bias},
                              /*has_biases=*/true, /*num_layers=*/1, /*dropout=*/0.0,
                              /*train=*/false, /*bidirectional=*/false, /*batch_first=*/true));
}

MixtureDensity Memory::Predict(const at::Tensor& hidden) const {
  const at::Tensor output = at::linear(hidden, output_->weight, output_->bias).to(at::kFloat);
  std::vector<int64_t> shape(hidden.sizes().begin(), hidden.sizes().end() - 1);
  shape.insert(shape.end(), {3, sizes_.latents, sizes_.components});
  const at::Tensor mixture = output.narrow(-1, 0, sizes_.output() - 1).reshape(shape);
  return {.log_weight = at::log_softmax(mixture.select(-3, 0), -1),
          .mean = mixture.select(-3, 1),
          .log_std = mixture.select(-3, 2),
          .termination_logit = output.select(-1, sizes_.output() - 1)};
}

Loss Memory::ComputeLoss(const TensorMap& batch, const NoiseKey& noise) {
  const at::Tensor& mu = Take(batch, "mu");
  if (mu.dim() != 3) {
    throw std::invalid_argument("\"mu\" has " + std::to_string(mu.dim()) +
                                " dimensions; M expects float32 [N, T, latents]");
  }
  const int64_t rows = mu.size(0), frames = mu.size(1);
  CheckShape(batch, "mu", {rows, frames, sizes_.latents});
  CheckShape(batch, "logvar", {rows, frames, sizes_.latents});
  for (const char* name : {"actions", "restarts", "terminations", "mask"}) {
    CheckShape(batch, name, {rows, frames});
  }
  const at::Device device = bias_.device();
  const auto take = [&](const char* name) { return Take(batch, name).to(device); };
  const at::Tensor terminations = take("terminations"), mask = take("mask");
  const at::Tensor z =
      take("mu") + (0.5 * take("logvar")).exp() * TrainingNoise(noise, mu.sizes(), device);

  const at::Tensor hidden =
      Recur(at::cat({z, take("actions").unsqueeze(-1), take("restarts").unsqueeze(-1)}, -1));
  const MixtureDensity density = Predict(hidden);

  // The last frame of a window has no next one to predict.
  const auto before_last = [&](const at::Tensor& x) { return x.narrow(1, 0, frames - 1); };
  const MixtureDensity next{
      before_last(density.log_weight), before_last(density.mean), before_last(density.log_std), {}};
  const at::Tensor has_next = mask.narrow(1, 1, frames - 1);
  const at::Tensor log_likelihood = LogLikelihood(next, z.narrow(1, 1, frames - 1)).mean(-1);
  const at::Tensor nll = -(log_likelihood * has_next).sum() / has_next.sum().clamp_min(1);

  const at::Tensor frames_given = mask.sum().clamp_min(1);
  const at::Tensor cross_entropy = at::binary_cross_entropy_with_logits(
      density.termination_logit, terminations, /*weight=*/mask,
      /*pos_weight=*/at::full({}, kDeathWeight, bias_.options().requires_grad(false)),
      at::Reduction::Sum);
  const at::Tensor termination = cross_entropy / frames_given;

  const at::Tensor deaths = terminations * mask;
  const at::Tensor alarms = (density.termination_logit.detach() > 0).to(at::kFloat);
  return {.total = nll + termination,
          .terms = {{"nll", nll.detach()},
                    {"termination", termination.detach()},
                    {"death_recall", (alarms * deaths).sum() / deaths.sum()},
                    {"false_alarms", (alarms * (mask - deaths)).sum() / (mask - deaths).sum()}}};
}

}  // namespace genie_env
