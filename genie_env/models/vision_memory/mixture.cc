#include "genie_env/models/vision_memory/mixture.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace genie_env {
namespace {

using torch::autograd::AutogradContext;

constexpr int64_t kRowsAtOnce = 64;  // 64 rows x 320 components x 4 bytes: a few of these fit in L2

// The parts of `mixture`, or of its gradient: see MixtureNegativeLogLikelihood.
struct MixtureParts {
  MixtureParts(const at::Tensor& mixture, int64_t components, int64_t dimensions) {
    const int64_t gaussians = components * dimensions;
    const int64_t weights = mixture.size(1) - 2 * gaussians;
    const auto part = [&](int64_t first, int64_t size) {
      return mixture.narrow(1, first, size).unflatten(1, {components, size / components});
    };
    log_weights = part(0, weights);
    means = part(weights, gaussians);
    log_stds = part(weights + gaussians, gaussians);
  }
  at::Tensor log_weights;      // [rows, components, mixtures]
  at::Tensor means, log_stds;  // [rows, components, dimensions]
};

// -log p(x) of a block of rows, divided by the number of dimensions: [rows]; writes its gradient.
at::Tensor LossOfBlock(const at::Tensor& mixture, int64_t components, const at::Tensor& x,
                       const at::Tensor& row_weight, const at::Tensor& gradient) {
  const int64_t dimensions = x.size(1);
  const MixtureParts parts(mixture.to(at::kFloat), components, dimensions);
  const MixtureParts gradients(gradient, components, dimensions);
  const int64_t mixtures = parts.log_weights.size(2);
  const at::Tensor log_weight = at::log_softmax(parts.log_weights, 1);
  const at::Tensor inverse_std = parts.log_stds.neg().exp_();
  const at::Tensor deviation = (x.unsqueeze(1) - parts.means).mul_(inverse_std);
  const at::Tensor square = deviation.square();
  at::Tensor joint =  // log(w N(x)) but for a constant: [rows, components, mixtures]
      mixtures == dimensions
          ? (log_weight - parts.log_stds).sub_(square, 0.5)
          : log_weight - at::add(parts.log_stds, square, 0.5).sum(2, /*keepdim=*/true);
  const at::Tensor total = at::logsumexp(joint, {1}, /*keepdim=*/true);

  // With r the posterior weight of a component and d the deviation:
  //   d(-log p) / d logit = softmax - r,  / d mean = -r d / std,  / d log_std = r (1 - d^2).
  const at::Tensor posterior = joint.sub_(total).exp_();
  const at::Tensor scale =
      (row_weight / static_cast<double>(dimensions)).unsqueeze(-1).unsqueeze(-1);
  gradients.log_weights.copy_(log_weight.exp().sub_(posterior).mul_(scale));
  const at::Tensor weighted = posterior.mul_(scale);
  gradients.means.copy_((weighted * deviation).mul_(inverse_std).neg_());
  gradients.log_stds.copy_(weighted - weighted * square);

  const double log_sqrt_two_pi = 0.5 * std::log(2 * std::numbers::pi);
  const int64_t together = dimensions / mixtures;  // dimensions of one mixture
  return (log_sqrt_two_pi - total.squeeze(1).div_(static_cast<double>(together))).mean(1);
}

struct MixtureLoss : torch::autograd::Function<MixtureLoss> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& mixture, int64_t components,
                            const at::Tensor& x, const at::Tensor& row_weight) {
    at::Tensor gradient = at::empty_like(mixture);
    at::Tensor losses = at::zeros({x.size(0)}, x.options());
    const auto rows_from = [&](int64_t begin, int64_t end) {
      const auto cut = [&](const at::Tensor& t) { return t.narrow(0, begin, end - begin); };
      cut(losses).copy_(
          LossOfBlock(cut(mixture), components, cut(x), cut(row_weight), cut(gradient)));
    };
    if (mixture.is_cpu()) {
      at::parallel_for(0, x.size(0), kRowsAtOnce, [&](int64_t begin, int64_t end) {
        const c10::AutoGradMode no_gradients(false);
        for (int64_t row = begin; row < end; row += kRowsAtOnce) {
          rows_from(row, std::min(end, row + kRowsAtOnce));
        }
      });
    } else {
      rows_from(0, x.size(0));
    }
    context->save_for_backward({gradient});
    return (losses * row_weight).sum();
  }

  static torch::autograd::variable_list backward(AutogradContext* context,
                                                 torch::autograd::variable_list outer) {
    const at::Tensor gradient = context->get_saved_variables()[0];
    return {gradient * outer[0].to(gradient.scalar_type()), at::Tensor(), at::Tensor(),
            at::Tensor()};
  }
};

}  // namespace

at::Tensor MixtureNegativeLogLikelihood(const at::Tensor& mixture, int64_t components,
                                        const at::Tensor& x, const at::Tensor& row_weight) {
  return MixtureLoss::apply(mixture, components, x, row_weight);
}

}  // namespace genie_env
