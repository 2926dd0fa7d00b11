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

// -log p(x) of a block of rows, averaged over dimensions: [rows]; writes its gradient.
at::Tensor LossOfBlock(const at::Tensor& mixture, const at::Tensor& x, const at::Tensor& row_weight,
                       const at::Tensor& gradient) {
  const at::Tensor parts = mixture.to(at::kFloat);
  const at::Tensor log_weight = at::log_softmax(parts.select(1, 0), 1);
  const at::Tensor inverse_std = parts.select(1, 2).neg().exp_();
  const at::Tensor deviation = (x.unsqueeze(1) - parts.select(1, 1)).mul_(inverse_std);
  const at::Tensor square = deviation.square();
  at::Tensor joint = (log_weight - parts.select(1, 2)).sub_(square, 0.5);
  const at::Tensor total = at::logsumexp(joint, {1}, /*keepdim=*/true);

  // With r the posterior weight of a component and d the deviation:
  //   d(-log p) / d logit = softmax - r,  / d mean = -r d / std,  / d log_std = r (1 - d^2).
  const at::Tensor posterior = joint.sub_(total).exp_();
  const at::Tensor scale =
      (row_weight / static_cast<double>(x.size(1))).unsqueeze(-1).unsqueeze(-1);
  gradient.select(1, 0).copy_(log_weight.exp().sub_(posterior).mul_(scale));
  const at::Tensor weighted = posterior.mul_(scale);
  gradient.select(1, 1).copy_((weighted * deviation).mul_(inverse_std).neg_());
  gradient.select(1, 2).copy_(weighted - weighted * square);

  const double log_sqrt_two_pi = 0.5 * std::log(2 * std::numbers::pi);
  return (log_sqrt_two_pi - total.squeeze(1)).mean(1);
}

struct MixtureLoss : torch::autograd::Function<MixtureLoss> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& mixture,
                            const at::Tensor& x, const at::Tensor& row_weight) {
    at::Tensor gradient = at::empty_like(mixture);
    at::Tensor losses = at::zeros({x.size(0)}, x.options());
    const auto rows_from = [&](int64_t begin, int64_t end) {
      const auto cut = [&](const at::Tensor& t) { return t.narrow(0, begin, end - begin); };
      cut(losses).copy_(LossOfBlock(cut(mixture), cut(x), cut(row_weight), cut(gradient)));
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
    return {gradient * outer[0].to(gradient.scalar_type()), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor MixtureNegativeLogLikelihood(const at::Tensor& mixture, const at::Tensor& x,
                                        const at::Tensor& row_weight) {
  return MixtureLoss::apply(mixture, x, row_weight);
}

}  // namespace genie_env
