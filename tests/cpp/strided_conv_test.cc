// Convolutions of stride 2 and their gradients against LibTorch's.
#include "genie_env/models/layers/strided_conv.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/conv_transpose2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/relu.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "genie_env/models/autocast.h"

namespace genie_env {
namespace {

at::Tensor Normal(at::IntArrayRef shape) {
  static std::mt19937 generator(2);
  std::normal_distribution<float> normal;
  const at::Tensor tensor = at::empty(shape);
  std::generate_n(tensor.mutable_data_ptr<float>(), tensor.numel(),
                  [&] { return normal(generator); });
  return tensor;
}

// What a layer gives, and the gradients of (output x weights) of its inputs.
template <typename Layer>
std::vector<at::Tensor> WithGradients(const Layer& layer, std::vector<at::Tensor> inputs,
                                      const at::Tensor& weights) {
  for (at::Tensor& input : inputs) input = input.detach().clone().requires_grad_(true);
  const at::Tensor output = layer(inputs[0], inputs[1], inputs[2]);
  (output * weights).sum().backward();
  std::vector<at::Tensor> found{output.detach()};
  for (const at::Tensor& input : inputs) found.push_back(input.grad());
  return found;
}

void ExpectClose(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& expected,
                 const std::string& what) {
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(found[i].sizes(), expected[i].sizes()) << what;
    EXPECT_TRUE(at::allclose(found[i], expected[i], 1e-3, 1e-3))
        << what << ", number " << i << ": " << (found[i] - expected[i]).abs().max().item<float>();
  }
}

struct Case {
  int64_t frames, height, width, kernel, in, out;  // height, width: of the input
};

std::string TextOf(const Case& c) {
  return std::to_string(c.frames) + " frames, " + std::to_string(c.height) + " x " +
         std::to_string(c.width) + ", kernel " + std::to_string(c.kernel) + ", " +
         std::to_string(c.in) + " to " + std::to_string(c.out);
}

TEST(StridedConv, ConvolvesAsLibTorch) {
  for (const Case& c : {Case{5, 64, 64, 4, 3, 32},
                        {3, 31, 31, 4, 32, 64},
                        {2, 14, 14, 4, 64, 128},
                        {9, 6, 6, 4, 128, 16},
                        {2, 39, 18, 4, 32, 64},
                        {3, 4, 17, 4, 16, 32},
                        {1, 9, 9, 5, 16, 7},
                        {40, 4, 4, 4, 48, 33}}) {
    const at::Tensor x = Normal({c.frames, c.height, c.width, c.in}), bias = Normal({c.out});
    const at::Tensor weight = Normal({c.out, c.in, c.kernel, c.kernel});
    const at::Tensor weights =
        Normal({c.frames, (c.height - c.kernel) / 2 + 1, (c.width - c.kernel) / 2 + 1, c.out});
    const auto expected = WithGradients(
        [](const auto& input, const auto& w, const auto& b) {
          return at::relu(at::conv2d(input.permute({0, 3, 1, 2}), w, b, 2)).permute({0, 2, 3, 1});
        },
        {x, weight, bias}, weights);
    ExpectClose(WithGradients(RectifiedConvolution, {x, weight, bias}, weights), expected,
                TextOf(c));
  }
}

TEST(StridedConv, ConvolvesTransposedAsLibTorch) {
  for (const bool rectified : {true, false}) {
    for (const Case& c : {Case{3, 1, 1, 5, 40, 16},
                          {5, 5, 5, 5, 128, 64},
                          {3, 13, 13, 6, 64, 32},
                          {2, 30, 30, 6, 32, 3},
                          {3, 1, 2, 5, 40, 16},
                          {2, 3, 1, 5, 40, 128},
                          {2, 14, 30, 6, 32, 3},
                          {2, 3, 3, 4, 5, 1},
                          {1, 2, 2, 5, 3, 48},
                          {2, 4, 4, 5, 8, 5}}) {
      const at::Tensor x = Normal({c.frames, c.height, c.width, c.in}), bias = Normal({c.out});
      const at::Tensor weight = Normal({c.in, c.out, c.kernel, c.kernel});
      const at::Tensor weights =
          Normal({c.frames, 2 * (c.height - 1) + c.kernel, 2 * (c.width - 1) + c.kernel, c.out});
      const auto expected = WithGradients(
          [&](const auto& input, const auto& w, const auto& b) {
            const at::Tensor y = at::conv_transpose2d(input.permute({0, 3, 1, 2}), w, b, 2);
            return (rectified ? at::relu(y) : y).permute({0, 2, 3, 1});
          },
          {x, weight, bias}, weights);
      const auto layer = [&](const auto& input, const auto& w, const auto& b) {
        return TransposedConvolution(input, w, b, rectified);
      };
      ExpectClose(WithGradients(layer, {x, weight, bias}, weights), expected, TextOf(c));
    }
  }
}

TEST(StridedConv, TheNumberOfThreadsChangesNothingButRounding) {
  const at::Tensor x = Normal({7, 13, 13, 64}), weight = Normal({64, 32, 6, 6});
  const at::Tensor bias = Normal({32}), weights = Normal({7, 30, 30, 32});
  const auto layer = [&](const auto& input, const auto& w, const auto& b) {
    return TransposedConvolution(input, w, b, true);
  };
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = WithGradients(layer, {x, weight, bias}, weights);
  at::set_num_threads(3);
  ExpectClose(WithGradients(layer, {x, weight, bias}, weights), one, "three threads");
  at::set_num_threads(threads);
}

TEST(StridedConv, TakesNoFrames) {
  const at::Tensor x = Normal({0, 5, 5, 16}), weight = Normal({16, 32, 4, 4}), bias = Normal({32});
  const std::vector<int64_t> larger{0, 12, 12, 32}, smaller{0, 1, 1, 16};
  EXPECT_EQ(TransposedConvolution(x, weight, bias, true).sizes(), larger);
  EXPECT_EQ(RectifiedConvolution(Normal({0, 5, 5, 32}), weight, Normal({16})).sizes(), smaller);
}

TEST(StridedConv, LeavesAutocastToLibTorch) {
  const at::Tensor x = Normal({2, 5, 5, 16}), weight = Normal({16, 32, 6, 6}), bias = Normal({32});
  const Bf16Scope autocast(true, at::kCPU);
  EXPECT_EQ(TransposedConvolution(x, weight, bias, true).scalar_type(), at::kBFloat16);
}

}  // namespace
}  // namespace genie_env
