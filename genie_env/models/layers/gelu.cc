#include "genie_env/models/layers/gelu.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <torch/csrc/autograd/custom_function.h>

#include "genie_env/kernels/cpu/gelu_kernels.h"
#include "genie_env/models/layers/once_differentiable.h"

namespace genie_env {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

constexpr int64_t kNumbersOfGelu = 1 << 14;  // that a thread computes, at least

const GeluKernels& FastestGelu() {
  static const GeluKernels kernels = SupportedGeluKernels().back();
  return kernels;
}

struct GeluFunction : torch::autograd::Function<GeluFunction> {
  static Variable forward(AutogradContext* context, const Variable& x) {
    at::Tensor y = at::empty_like(x);
    const auto* from = x.const_data_ptr<float>();
    auto* to = y.mutable_data_ptr<float>();
    at::parallel_for(0, x.numel(), kNumbersOfGelu, [&](int64_t begin, int64_t end) {
      FastestGelu().gelu(end - begin, from + begin, to + begin);
    });
    context->save_for_backward({x});
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    RefuseSecondDerivative("GELUs");
    const Variable x = context->get_saved_variables()[0];
    const at::Tensor gradient = gradients[0].contiguous();
    at::Tensor of_x = at::empty_like(x);
    const auto *from = x.const_data_ptr<float>(), *outer = gradient.const_data_ptr<float>();
    auto* to = of_x.mutable_data_ptr<float>();
    at::parallel_for(0, x.numel(), kNumbersOfGelu, [&](int64_t begin, int64_t end) {
      FastestGelu().gradient(end - begin, from + begin, outer + begin, to + begin);
    });
    return {of_x};
  }
};

}  // namespace

at::Tensor Gelu(const at::Tensor& x) {
  if (!x.is_cpu() || x.scalar_type() != at::kFloat) return at::gelu(x, "tanh");
  return GeluFunction::apply(x.contiguous());
}

}  // namespace genie_env
