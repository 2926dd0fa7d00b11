// GELU and its gradient against LibTorch's in double.
#include "genie_env/models/layers/gelu.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones_like.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>
#include <stdexcept>

#include "genie_env/kernels/cpu/gelu_kernels.h"

namespace genie_env {
namespace {

// Numbers whose count is no multiple of a vector, extreme ones among them.
at::Tensor Inputs() {
  const at::Tensor far = at::empty({4}, at::kFloat);
  far[0] = -1e30;
  far[1] = -1e4;
  far[2] = 1e4;
  far[3] = 1e30;
  return at::cat({at::linspace(-12, 12, 70'001, at::kFloat), far});
}

struct ValueAndGradient {
  at::Tensor value, gradient;
};

template <typename Function>
ValueAndGradient Compute(const Function& function, const at::Tensor& input) {
  const at::Tensor x = input.detach().clone().requires_grad_(true);
  const at::Tensor y = function(x);
  (y * at::linspace(-1, 2, x.numel(), x.options())).sum().backward();
  return {y.detach(), x.grad()};
}

ValueAndGradient Reference() {
  return Compute([](const at::Tensor& x) { return at::gelu(x, "tanh"); }, Inputs().to(at::kDouble));
}

TEST(Gelu, HasLibTorchsValuesAndGradients) {
  const ValueAndGradient ours = Compute(Gelu, Inputs()), expected = Reference();
  EXPECT_TRUE(at::allclose(ours.value.to(at::kDouble), expected.value, 1e-6, 1e-6));
  EXPECT_TRUE(at::allclose(ours.gradient.to(at::kDouble), expected.gradient, 1e-6, 2e-6));
}

TEST(Gelu, EveryInstructionSetComputesTheSame) {
  const at::Tensor x = Inputs(), outer = at::linspace(-1, 2, x.numel());
  const ValueAndGradient expected = Reference();
  for (const GeluKernels& kernels : SupportedGeluKernels()) {
    const at::Tensor value = at::empty_like(x), gradient = at::empty_like(x);
    kernels.gelu(x.numel(), x.const_data_ptr<float>(), value.mutable_data_ptr<float>());
    kernels.gradient(x.numel(), x.const_data_ptr<float>(), outer.const_data_ptr<float>(),
                     gradient.mutable_data_ptr<float>());
    EXPECT_TRUE(at::allclose(value.to(at::kDouble), expected.value, 1e-6, 1e-6))
        << kernels.instruction_set;
    EXPECT_TRUE(at::allclose(gradient.to(at::kDouble), expected.gradient, 1e-6, 2e-6))
        << kernels.instruction_set;
  }
}

TEST(Gelu, TakesWhatIsNotContiguousAndNothing) {
  const at::Tensor x = at::linspace(-3, 3, 60).view({6, 10}).t();
  const auto gelu = [](const at::Tensor& input) { return at::gelu(input, "tanh"); };
  EXPECT_TRUE(at::allclose(Gelu(x), gelu(x), 1e-6, 1e-6));
  EXPECT_EQ(Gelu(at::empty({0, 3})).numel(), 0);
}

TEST(Gelu, KeepsNan) {
  const at::Tensor x = at::empty({40}).fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(Gelu(x).isnan().all().item<bool>());
}

TEST(Gelu, IsDifferentiatedOnceOnly) {
  const at::Tensor x = at::linspace(-1, 1, 5).requires_grad_(true);
  const at::Tensor y = Gelu(x);
  EXPECT_THROW(torch::autograd::grad({y}, {x}, {at::ones_like(y)}, /*retain_graph=*/true,
                                     /*create_graph=*/true),
               std::invalid_argument);
}

}  // namespace
}  // namespace genie_env
