// The packed decoder against LibTorch's convolutions with V's weights, and its kernels against sums
// in double precision.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/conv_transpose2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "genie_env/kernels/cpu/packed_gemm.h"
#include "genie_env/kernels/cpu/squares_kernels.h"
#include "genie_env/models/vision_memory/vision.h"
#include "genie_env/worlds/vision_memory/frozen_decoder.h"

namespace genie_env {
namespace {

// Weights so large that frames have contrast.
std::shared_ptr<const Vision> Contrasting(const VisionSizes& sizes) {
  auto vision = std::make_shared<Vision>(sizes, 5);
  for (const auto& [name, parameter] : ParametersOf(*vision)) {
    at::Tensor(parameter).requires_grad_(false).mul_(name.ends_with("bias") ? 1.0 : 2.0);
  }
  return vision;
}

at::Tensor Latents(int64_t rows, int64_t latents) {
  std::mt19937 generator(3);
  std::normal_distribution<float> normal;
  const at::Tensor z = at::empty({rows, latents});
  std::generate_n(z.mutable_data_ptr<float>(), z.numel(), [&] { return normal(generator); });
  return z;
}

// What V shows, by LibTorch's operators.
at::Tensor Expected(const Vision& vision, const at::Tensor& z) {
  const TensorMap all = ParametersOf(vision);
  const auto deconvolved = [&](const std::string& layer, const at::Tensor& x) {
    return at::conv_transpose2d(x, all.at(layer + ".weight"), all.at(layer + ".bias"), 2);
  };
  at::Tensor x = at::linear(z, all.at("expand.weight"), all.at("expand.bias"));
  const VisionSizes& sizes = vision.sizes();
  if (sizes.rectified_features) x = at::relu(x);
  // A frame of side 48 is the middle of an image of 64, one of 16 N + 48 comes from N pixels.
  const auto seen = [](int64_t side) { return std::max<int64_t>(side, 64); };
  const auto grid = [&](int64_t side) { return (seen(side) - 48) / 16; };
  x = x.view({-1, grid(sizes.height), grid(sizes.width), 1024}).permute({0, 3, 1, 2});
  x = at::relu(deconvolved("deconv1", x));
  x = at::relu(deconvolved("deconv3", at::relu(deconvolved("deconv2", x))));
  return ToFrames(at::sigmoid(deconvolved("deconv4", x)))
      .narrow(1, (seen(sizes.height) - sizes.height) / 2, sizes.height)
      .narrow(2, (seen(sizes.width) - sizes.width) / 2, sizes.width);
}

at::Tensor Decoded(const FrozenDecoder& decoder, const at::Tensor& z, int64_t height = 64,
                   int64_t width = 64) {
  const at::Tensor frames = at::empty({z.size(0), height, width, 3}, at::kByte);
  decoder.Decode(z, frames);
  return frames;
}

int64_t Contrast(const at::Tensor& frames) {
  return (frames.max().to(at::kInt) - frames.min().to(at::kInt)).item<int64_t>();
}

// Differences in levels of 255.
struct Difference {
  Difference(const at::Tensor& a, const at::Tensor& b)
      : largest((a.to(at::kInt) - b.to(at::kInt)).abs().max().item<int64_t>()),
        mean((a.to(at::kFloat) - b.to(at::kFloat)).abs().mean().item<double>()) {}
  int64_t largest;
  double mean;
};

TEST(Decoder, ShowsWhatVShows) {
  for (const int64_t latents : {32, 7}) {  // of any number
    const auto vision = Contrasting({.latents = latents});
    const at::Tensor z = Latents(67, latents);  // more than are decoded at once
    const at::Tensor expected = Expected(*vision, z);
    ASSERT_GT(Contrast(expected), 100);
    const at::Tensor frames = Decoded(*MakeDecoderCpu(*vision, at::kFloat), z);
    const Difference difference(frames, expected);
    EXPECT_LE(difference.largest, 1);
    EXPECT_LT(difference.mean, 1e-3);
    if (!CanPackBf16()) continue;
    const Difference rounded(Decoded(*MakeDecoderCpu(*vision, at::kBFloat16), z), expected);
    EXPECT_LE(rounded.largest, 8);
    EXPECT_LT(rounded.mean, 0.5);
  }
}

TEST(Decoder, ShowsFramesOfOtherSizes) {
  for (const auto& [height, width] :
       {std::pair<int64_t, int64_t>{48, 48}, {48, 80}, {96, 64}, {64, 128}, {112, 96}, {256, 48}}) {
    const std::string text = std::to_string(height) + " x " + std::to_string(width);
    const auto vision = Contrasting({.latents = 6, .height = height, .width = width});
    const at::Tensor z = Latents(5, 6), expected = Expected(*vision, z);
    ASSERT_GT(Contrast(expected), 100) << text;
    const at::Tensor frames = Decoded(*MakeDecoderCpu(*vision, at::kFloat), z, height, width);
    const Difference difference(frames, expected);
    EXPECT_LE(difference.largest, 1) << text;
    EXPECT_LT(difference.mean, 1e-3) << text;
    EXPECT_TRUE(
        at::equal(Decoded(*MakeDecoderCpu(*vision, at::kFloat), z.narrow(0, 3, 1), height, width),
                  frames.narrow(0, 3, 1)))
        << text;
    const Difference itself(Decoded(*MakeDecoderTorch(vision, at::kFloat), z, height, width),
                            expected);
    EXPECT_LE(itself.largest, 1) << text;
    if (!CanPackBf16()) continue;
    const Difference rounded(Decoded(*MakeDecoderCpu(*vision, at::kBFloat16), z, height, width),
                             expected);
    EXPECT_LE(rounded.largest, 10) << text;
    EXPECT_LT(rounded.mean, 0.5) << text;
  }
}

TEST(Decoder, RectifiesFeaturesWhereItsSizesSaySo) {
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{64, 64}, {48, 48}, {80, 96}}) {
    const VisionSizes sizes{
        .latents = 7, .height = height, .width = width, .rectified_features = true};
    const auto vision = Contrasting(sizes);
    const at::Tensor z = Latents(67, 7), expected = Expected(*vision, z);
    ASSERT_GT(Difference(expected, Expected(*Contrasting({7, height, width}), z)).largest, 20);
    const auto decoder = MakeDecoderCpu(*vision, at::kFloat);
    const at::Tensor frames = Decoded(*decoder, z, height, width);
    EXPECT_LE(Difference(frames, expected).largest, 1);
    EXPECT_TRUE(
        at::equal(Decoded(*decoder, z.narrow(0, 66, 1), height, width), frames.narrow(0, 66, 1)));
    const auto itself = MakeDecoderTorch(vision, at::kFloat);
    EXPECT_LE(Difference(Decoded(*itself, z, height, width), expected).largest, 1);
    if (!CanPackBf16()) continue;
    const auto rounded = MakeDecoderCpu(*vision, at::kBFloat16);
    EXPECT_LE(Difference(Decoded(*rounded, z, height, width), expected).largest, 10);
  }
}

TEST(Decoder, RunsVItself) {
  const auto vision = Contrasting({.latents = 5});
  const at::Tensor z = Latents(3, 5);
  const Difference difference(Decoded(*MakeDecoderTorch(vision, at::kFloat), z),
                              Expected(*vision, z));
  EXPECT_LE(difference.largest, 1);
}

TEST(Decoder, GivesAFrameTheSameBitsInAnyBatchAndOnAnyThreads) {
  const auto vision = Contrasting({.latents = 9});
  const at::Tensor z = Latents(131, 9);
  const int threads = at::get_num_threads();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    if (dtype == at::kBFloat16 && !CanPackBf16()) continue;
    const auto decoder = MakeDecoderCpu(*vision, dtype);
    const at::Tensor all = Decoded(*decoder, z);
    for (const int several : {1, 2, 3, 7}) {
      at::set_num_threads(several);
      EXPECT_TRUE(at::equal(Decoded(*MakeDecoderCpu(*vision, dtype), z), all)) << "packed again";
      EXPECT_TRUE(at::equal(Decoded(*decoder, z), all)) << several << " threads";
      for (const int64_t rows : {1, 2, 3, 5, 64, 65}) {
        EXPECT_TRUE(at::equal(Decoded(*decoder, z.narrow(0, 66, rows)), all.narrow(0, 66, rows)))
            << rows << " rows, " << several << " threads";
      }
    }
    at::set_num_threads(threads);
    EXPECT_EQ(Decoded(*decoder, z.narrow(0, 0, 0)).size(0), 0);
  }
}

TEST(Decoder, ItsKernelsSumTheSquaresAtTheirPlaces) {
  constexpr int64_t kChannels = 48, kSide = 4, kSpare = 8;
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  const auto numbers = [&](int64_t size) {
    std::vector<float> values(size);
    for (float& value : values) value = normal(generator);
    return values;
  };
  for (const auto& kernels : SupportedSquaresKernels()) {
    for (const auto& [kernel, channels] :
         {std::pair<int64_t, int64_t>{5, kChannels}, {6, kChannels}, {6, 3}, {6, 1}}) {
      const int64_t of_row = kernel * channels, pixel_stride = kernel * of_row;
      const int64_t row_stride = kSide * pixel_stride, width = 2 * (kSide - 1) + kernel;
      const auto squares = numbers(3 * row_stride + kSpare), bias = numbers(width * channels);
      const bool bytes = channels < 16;
      // Input rows 2, 1, 0 add their squares' rows 1, 3, 5 or fewer.
      for (const int64_t rows : {3, 1}) {
        const SquaresBlock block{.side = kSide,
                                 .kernel = kernel,
                                 .channels = channels,
                                 .squares = squares.data() + 2 * row_stride + 1 * of_row,
                                 .pixel_stride = pixel_stride,
                                 .rows = kernel == 5 ? std::min<int64_t>(rows, 2) : rows,
                                 .row_stride = 2 * of_row - row_stride,
                                 .bias = bias.data(),
                                 .bias_stride = bytes ? 0 : channels};
        std::vector<double> expected(width * channels);
        for (int64_t i = 0; i < width * channels; ++i) {
          expected[i] = bias[bytes ? i % channels : i];
        }
        for (int64_t row = 0; row < block.rows; ++row) {
          for (int64_t pixel = 0; pixel < kSide; ++pixel) {
            for (int64_t i = 0; i < of_row; ++i) {
              expected[2 * pixel * channels + i] +=
                  squares[(2 - row) * row_stride + (1 + 2 * row) * of_row + pixel * pixel_stride +
                          i];
            }
          }
        }
        std::vector<float> sums(width * channels + kSpare), out(width * channels);
        std::vector<uint16_t> rounded(width * channels);
        std::vector<uint8_t> levels(width * channels);
        if (bytes) {
          kernels.narrow_sum(block, sums.data());
          kernels.to_bytes(width * channels, sums.data(), levels.data());
        } else {
          kernels.sum(block, sums.data());
          kernels.rectified(block, out.data());
          kernels.rectified_bf16(block, rounded.data());
        }
        for (int64_t i = 0; i < width * channels; ++i) {
          EXPECT_NEAR(sums[i], expected[i], 1e-5) << kernels.instruction_set;
          if (bytes) {
            EXPECT_NEAR(levels[i], 255 / (1 + std::exp(-expected[i])), 0.501)
                << kernels.instruction_set;
          } else {
            EXPECT_NEAR(out[i], std::max(expected[i], 0.0), 1e-5) << kernels.instruction_set;
            const auto bits = static_cast<uint32_t>(rounded[i]) << 16;
            EXPECT_NEAR(std::bit_cast<float>(bits), out[i], 4e-3 * out[i] + 1e-9);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace genie_env
