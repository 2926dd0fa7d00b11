#include "genie_env/worlds/genie/unmask.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <tuple>
#include <vector>

#include "adversarial_draws.h"
#include "genie_env/kernels/device_info.h"
#include "genie_env/models/model.h"

namespace genie_env {
namespace {

/// What a pass reads and writes; undefined tensors are null pointers.
struct Frames {
  at::Tensor logits, order, given, uniform, temperature, tokens, surprise;

  MaskGitPass Pass(int64_t count) const {
    const auto floats = [](const at::Tensor& t) {
      return t.defined() ? t.const_data_ptr<float>() : nullptr;
    };
    return {.rows = logits.size(0),
            .positions = logits.size(1),
            .codes = logits.size(2),
            .count = count,
            .logits = floats(logits),
            .order = floats(order),
            .given = given.defined() ? given.const_data_ptr<int64_t>() : nullptr,
            .uniform = floats(uniform),
            .temperature = floats(temperature),
            .tokens = tokens.mutable_data_ptr<int64_t>(),
            .surprise = surprise.mutable_data_ptr<float>()};
  }

  Frames To(at::Device device) const {
    Frames moved;
    for (const auto part : {&Frames::logits, &Frames::order, &Frames::given, &Frames::uniform,
                            &Frames::temperature, &Frames::tokens, &Frames::surprise}) {
      if ((this->*part).defined()) moved.*part = (this->*part).to(device, {}, false, true);
    }
    return moved;
  }
};

Frames RandomFrames(int64_t rows, int64_t positions, int64_t codes, uint64_t seed) {
  const auto uniform = [&](uint64_t step, at::IntArrayRef shape) {
    return TrainingNoise(seed, step).Uniform(shape, at::kCPU);
  };
  return {.logits = 8 * uniform(0, {rows, positions, codes}),
          .order = {},
          .given = {},
          .uniform = uniform(1, {rows, positions}),
          .temperature = uniform(2, {rows}) + 0.25,
          .tokens = at::full({rows, positions}, codes, at::kLong),
          .surprise = at::zeros({rows})};
}

std::vector<int64_t> Tokens(const Frames& frames) {
  const auto* tokens = frames.tokens.const_data_ptr<int64_t>();
  return {tokens, tokens + frames.tokens.numel()};
}

TEST(MaskGitKernels, TheMostCertainComeFirstAndTiesByPosition) {
  Frames frames = RandomFrames(1, 4, 3, 1);
  frames.temperature.fill_(1e-3);  // the likeliest code
  frames.logits = at::zeros({1, 4, 3});
  frames.logits[0][0][1] = 2;
  frames.logits[0][1][2] = 5;
  frames.logits[0][2][0] = 5;
  frames.logits[0][3][2] = 3;
  UnmaskOnCpu(frames.Pass(1));
  EXPECT_EQ(Tokens(frames), (std::vector<int64_t>{3, 2, 3, 3}));
  UnmaskOnCpu(frames.Pass(2));
  EXPECT_EQ(Tokens(frames), (std::vector<int64_t>{3, 2, 0, 2}));
  UnmaskOnCpu(frames.Pass(1));
  EXPECT_EQ(Tokens(frames), (std::vector<int64_t>{1, 2, 0, 2}));
  const auto surprise = [](double logit) { return std::log(std::exp(logit) + 2) - logit; };
  EXPECT_NEAR(frames.surprise[0].item<double>(), surprise(2) + 2 * surprise(5) + surprise(3), 1e-5);
}

TEST(MaskGitKernels, AnOrderThatIsGivenDecides) {
  Frames frames = RandomFrames(1, 4, 3, 1);
  frames.temperature = frames.uniform = at::Tensor();  // nothing is drawn
  frames.given = at::full({1, 4}, 1, at::kLong);
  frames.order = at::zeros({1, 4});
  frames.order[0][2] = 0.5;
  UnmaskOnCpu(frames.Pass(2));
  EXPECT_EQ(Tokens(frames), (std::vector<int64_t>{1, 3, 1, 3}));
  const at::Tensor all = at::log_softmax(frames.logits, -1);
  EXPECT_NEAR(frames.surprise[0].item<double>(), -(all[0][0][1] + all[0][2][1]).item<double>(),
              1e-5);
}

TEST(MaskGitKernels, DrawsByInverseDistributionFunction) {
  constexpr int64_t kPositions = 200, kCodes = 40;
  const Frames frames = RandomFrames(1, kPositions, kCodes, 2);
  UnmaskOnCpu(frames.Pass(kPositions));
  const double temperature = frames.temperature[0].item<float>();
  const at::Tensor reached =
      (at::log_softmax(frames.logits.to(at::kDouble) / temperature, -1)).exp().cumsum(-1)[0];
  for (int64_t s = 0; s < kPositions; ++s) {
    const int64_t token = Tokens(frames)[s];
    const double uniform = frames.uniform[0][s].item<float>();
    EXPECT_GE(reached[s][token].item<double>(), uniform - 1e-6);
    EXPECT_LE(token > 0 ? reached[s][token - 1].item<double>() : 0, uniform + 1e-6);
  }
}

/// Draws with every adversarial uniform number from each of some adversarial rows of logits; no
/// drawn code may have next to no weight.
void ExpectNoDrawWithoutWeight(const std::function<void(const Frames&)>& unmask) {
  const std::vector<std::vector<float>> rows = AdversarialLogits();
  const std::vector<float> uniforms = AdversarialUniforms();
  for (const std::vector<float>& logits : rows) {
    const auto codes = static_cast<int64_t>(logits.size());
    const auto draws = static_cast<int64_t>(uniforms.size());
    for (const double temperature : {0.1, 1.0, 1.5}) {
      const Frames frames{.logits = at::tensor(logits).expand({1, draws, codes}).contiguous(),
                          .order = at::zeros({1, draws}),
                          .given = {},
                          .uniform = at::tensor(uniforms).unsqueeze(0),
                          .temperature = at::full({1}, temperature, at::kFloat),
                          .tokens = at::full({1, draws}, codes, at::kLong),
                          .surprise = at::zeros({1})};
      unmask(frames);
      for (const int64_t token : Tokens(frames)) {
        ASSERT_TRUE(HasWeight(logits, temperature, token)) << token << " of " << codes;
      }
    }
  }
}

TEST(MaskGitKernels, NoCodeWithoutWeightIsDrawn) {
  ExpectNoDrawWithoutWeight(
      [](const Frames& frames) { UnmaskOnCpu(frames.Pass(frames.tokens.numel())); });
}

TEST(MaskGitKernels, NoCodeWithoutWeightIsDrawnOnTheGpu) {
  if (CudaDevices().empty()) GTEST_SKIP() << "no GPU, or no CUDA kernels in this build";
  const at::Device device(at::kCUDA, 0);
  const c10::DeviceGuard on_device(device);
  const c10::impl::VirtualGuardImpl gpu(at::kCUDA);
  ExpectNoDrawWithoutWeight([&](const Frames& frames) {
    const Frames there = frames.To(device);
    UnmaskOnGpu(there.Pass(frames.tokens.numel()),
                gpu.getStreamNativeHandle(gpu.getStream(device)));
    at::Tensor(frames.tokens).copy_(there.tokens);
  });
}

TEST(MaskGitKernels, TheGpuSettlesWhatTheCpuSettles) {
  if (CudaDevices().empty()) GTEST_SKIP() << "no GPU, or no CUDA kernels in this build";
  const at::Device device(at::kCUDA, 0);
  const c10::DeviceGuard on_device(device);
  const c10::impl::VirtualGuardImpl gpu(at::kCUDA);
  void* stream = gpu.getStreamNativeHandle(gpu.getStream(device));
  for (const auto& [rows, positions, codes] :
       {std::tuple{1, 5, 2}, {3, 64, 1024}, {2, 300, 97}, {1, 4096, 33}}) {
    for (const bool given : {false, true}) {
      for (const bool ordered : {false, true}) {
        Frames frames = RandomFrames(rows, positions, codes, 3);
        if (ordered) frames.order = TrainingNoise(4, 0).Uniform({rows, positions}, at::kCPU);
        if (given) frames.given = frames.logits.argmin(-1);
        for (const int64_t count : {int64_t{1}, int64_t{positions} / 2}) {
          const Frames there = frames.To(device);
          UnmaskOnCpu(frames.Pass(count));
          UnmaskOnGpu(there.Pass(count), stream);
          EXPECT_TRUE(at::equal(there.tokens.cpu(), frames.tokens));
          EXPECT_TRUE(at::allclose(there.surprise.cpu(), frames.surprise, 1e-4, 1e-4));
        }
      }
    }
  }
  UnmaskOnGpu(RandomFrames(0, 5, 2, 3).To(device).Pass(1), stream);  // no rows are no trouble
}

}  // namespace
}  // namespace genie_env
