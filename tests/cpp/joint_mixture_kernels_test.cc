// Every instruction set's kernels of a joint mixture against the formulas in double precision.
#include "genie_env/worlds/vision_memory/joint_mixture_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace genie_env {
namespace {

using Floats = std::vector<float>;

/// A mixture of two panels a row, of which the second is not whole.
class JointMixtureKernelsTest : public testing::TestWithParam<JointMixtureKernels> {
 protected:
  static constexpr int64_t kRows = 40, kDimensions = kPanel + 5, kStride = kDimensions + 3;

  Floats Normal(size_t size, float scale = 1) {
    std::normal_distribution<float> normal(0, scale);
    Floats values(size);
    for (float& value : values) value = normal(generator_);
    return values;
  }

  void Draw(int64_t components) {
    components_ = components;
    logits_ = Normal(kRows * (components + 2), 2);
    logit_bias_ = Normal(components);
    products_ = Normal(2 * kRows * components * 2 * kPanel, 0.5f);
    bias_ = Normal(2 * components * 2 * kPanel, 0.5f);
    normal_ = Normal(kRows * kStride);
    std::uniform_real_distribution<float> uniforms(0, 1), temperatures(0.1f, 1.5f);
    for (float& value : uniform_) value = uniforms(generator_);
    for (float& value : temperature_) value = temperatures(generator_);
    parts_.assign(kRows * 3 * components, 99.0f);
  }

  /// Runs all kernels; samples where `sampled`.
  void Run(bool sampled) {
    const JointMixtureKernels& kernels = GetParam();
    kernels.choose({.rows = kRows,
                    .components = components_,
                    .stride = components_ + 2,
                    .products = logits_.data(),
                    .bias = logit_bias_.data(),
                    .part_stride = 3 * components_,
                    .log_weights = parts_.data(),
                    .temperature = sampled ? temperature_.data() : nullptr,
                    .uniform = sampled ? uniform_.data() : nullptr,
                    .component = sampled ? component_.data() : nullptr});
    for (int64_t panel = 0; panel < 2; ++panel) {
      const int64_t first = panel * kPanel, size = components_ * 2 * kPanel;
      const JointMixtureBlock block{.rows = kRows,
                                    .dimensions = std::min(kPanel, kDimensions - first),
                                    .components = components_,
                                    .products = products_.data() + panel * kRows * size,
                                    .bias = bias_.data() + panel * size,
                                    .component = component_.data(),
                                    .temperature = temperature_.data(),
                                    .stride = kStride,
                                    .normal = normal_.data() + first,
                                    .z = z_.data() + first,
                                    .z_out = {out_.data() + first, kStride},
                                    .part_stride = 3 * components_,
                                    .parts = parts_.data() + (1 + panel) * components_};
      (sampled ? kernels.sample : kernels.score)(block);
    }
    kernels.surprise(kRows, 3, components_, kDimensions, parts_.data(), surprise_.data());
  }

  double Logit(int64_t row, int64_t k) const {
    return double{logits_[row * (components_ + 2) + k]} + logit_bias_[k];
  }

  /// part: 0 the mean, 1 the log standard deviation.
  double Part(int64_t row, int64_t k, int64_t part, int64_t j) const {
    const int64_t panel = j / kPanel, lane = part * kPanel + j % kPanel;
    const int64_t size = components_ * 2 * kPanel, at = k * 2 * kPanel + lane;
    return double{products_[(panel * kRows + row) * size + at]} + bias_[panel * size + at];
  }

  double NegativeLogDensity(int64_t row) const {
    double prior = 0, density = 0;
    for (int64_t k = 0; k < components_; ++k) {
      double log_normal = 0;
      for (int64_t j = 0; j < kDimensions; ++j) {
        const double deviation =
            (z_[row * kStride + j] - Part(row, k, 0, j)) / std::exp(Part(row, k, 1, j));
        log_normal -= Part(row, k, 1, j) + deviation * deviation / 2;
      }
      prior += std::exp(Logit(row, k));
      density += std::exp(Logit(row, k) + log_normal);
    }
    return std::log(prior) - std::log(density) +
           0.5 * static_cast<double>(kDimensions) * std::log(2 * std::numbers::pi);
  }

  /// The component that the row's draw chooses, and how far the draw is from another one's.
  std::pair<int64_t, double> Chosen(int64_t row) const {
    const double tau = temperature_[row], uniform = uniform_[row];
    double total = 0, sum = 0, gap = 1;
    for (int64_t k = 0; k < components_; ++k) total += std::exp(Logit(row, k) / tau);
    int64_t chosen = 0;
    for (int64_t k = 0; k + 1 < components_; ++k) {
      sum += std::exp(Logit(row, k) / tau) / total;
      chosen += sum < uniform ? 1 : 0;
      gap = std::min(gap, std::abs(sum - uniform));
    }
    return {chosen, gap};
  }

  std::mt19937 generator_{7};
  int64_t components_ = 0;
  Floats logits_, logit_bias_, products_, bias_, normal_, parts_;
  Floats uniform_ = Floats(kRows), temperature_ = Floats(kRows), surprise_ = Floats(kRows);
  Floats z_ = Floats(kRows * kStride, 99.0f), out_ = z_;
  std::vector<int32_t> component_ = std::vector<int32_t>(kRows);
};

INSTANTIATE_TEST_SUITE_P(All, JointMixtureKernelsTest,
                         testing::ValuesIn(SupportedJointMixtureKernels()),
                         [](const auto& info) { return std::string(info.param.instruction_set); });

TEST_P(JointMixtureKernelsTest, SampleAndScoreAreTheMixtureDensity) {
  for (const int64_t components : {int64_t{5}, int64_t{1}, kMaxComponents}) {
    Draw(components);
    Run(/*sampled=*/true);
    EXPECT_EQ(out_, z_);
    int64_t certain = 0;
    for (int64_t row = 0; row < kRows; ++row) {
      const auto [chosen, gap] = Chosen(row);
      if (gap > 1e-5) {
        EXPECT_EQ(component_[row], chosen);
        ++certain;
      }
      const double noise_scale = std::sqrt(temperature_[row]);
      for (int64_t j = 0; j < kStride; ++j) {
        const float z = z_[row * kStride + j];
        if (j >= kDimensions) {
          EXPECT_EQ(z, 99.0f);
          continue;
        }
        const int64_t k = component_[row];
        const double expected = Part(row, k, 0, j) + std::exp(Part(row, k, 1, j)) * noise_scale *
                                                         normal_[row * kStride + j];
        EXPECT_NEAR(z, expected, 1e-5 * (1 + std::abs(expected)));
      }
      const double expected = NegativeLogDensity(row) / kDimensions;
      EXPECT_NEAR(surprise_[row], expected, 1e-5 * (1 + std::abs(expected)));
    }
    EXPECT_GT(certain, kRows * 9 / 10);

    const Floats sampled = z_, surprise = surprise_;
    Run(/*sampled=*/false);
    EXPECT_EQ(z_, sampled);
    EXPECT_EQ(surprise_, surprise);
  }
}

TEST_P(JointMixtureKernelsTest, SurpriseOfWhatIsFarFromEveryComponent) {
  Draw(5);
  for (float& value : z_) value = 40;
  Run(/*sampled=*/false);
  for (int64_t row = 0; row < kRows; ++row) {
    EXPECT_GT(surprise_[row], 20);
    EXPECT_TRUE(std::isfinite(surprise_[row]));
  }
}

}  // namespace
}  // namespace genie_env
