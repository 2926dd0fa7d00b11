// Every instruction set's kernels against the formulas in double precision.
#include "genie_env/worlds/vision_memory/memory_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>
#include <optional>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "genie_env/kernels/cpu/float_math.h"

namespace genie_env {
namespace {

using Floats = std::vector<float>;

std::mt19937 generator(7);

Floats Normal(size_t size, float scale) {
  std::normal_distribution<float> normal(0, scale);
  Floats values(size);
  for (float& value : values) value = normal(generator);
  return values;
}

double Sigma(double x) { return 1 / (1 + std::exp(-x)); }

float FromBf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

TEST(FloatMath, IsExactToAFewRoundings) {
  double worst_exp = 0, worst_log = 0;
  const auto error = [](double got, double expected) { return std::abs(got / expected - 1); };
  for (int i = -86000; i <= 86000; i += 7) {
    const float x = static_cast<float>(i) * 1e-3f, small = x * 1e-3f;
    worst_exp = std::max({worst_exp, error(Exp(x), std::exp(double{x})),
                          error(Exp(small), std::exp(double{small}))});
    if (i == 0) continue;
    const float y = std::exp(x);
    worst_log = std::max(worst_log, error(Log(y), std::log(double{y})));
  }
  EXPECT_LT(worst_exp, 5e-7);
  EXPECT_LT(worst_log, 5e-7);
}

TEST(FloatMath, HoldsAtTheEnds) {
  EXPECT_EQ(Exp(0), 1.0f);
  EXPECT_EQ(Log(1), 0.0f);
  EXPECT_GT(Exp(-1e30f), 0.0f);
  EXPECT_TRUE(std::isfinite(Exp(1e30f)));
}

TEST(FloatMath, Bf16RoundsToNearestEven) {
  EXPECT_EQ(ToBf16(1.0f), 0x3f80);
  EXPECT_EQ(ToBf16(-2.0f), 0xc000);
  EXPECT_EQ(ToBf16(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // a tie, to the even one below
  EXPECT_EQ(ToBf16(std::bit_cast<float>(0x3f818000u)), 0x3f82);  // a tie, to the even one above
  EXPECT_EQ(ToBf16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
}

class MemoryKernelsTest : public testing::TestWithParam<MemoryKernels> {};

std::string Name(const testing::TestParamInfo<MemoryKernels>& info) {
  return info.param.instruction_set;
}

INSTANTIATE_TEST_SUITE_P(All, MemoryKernelsTest, testing::ValuesIn(SupportedMemoryKernels()), Name);

template <typename Element>
void CheckGates(void (*gates)(const GateBlock<Element>&), int64_t units) {
  const int64_t rows = 5, contexts = 3, stride = 21;
  const Floats products = Normal(rows * 4 * kPanel, 3), bias = Normal(contexts * 4 * kPanel, 3);
  const std::vector<int32_t> context{2, 0, 1, 1, 2};
  const Floats before = Normal(rows * stride, 1);
  Floats c = before, h(rows * stride, 99.0f);
  const int64_t apart = 40, h_at = 23;  // an observation: c and h side by side, with room between
  Floats out(rows * apart, 99.0f);
  std::vector<Element> input(rows * kPanel, Element{7});
  gates({.rows = rows,
         .units = units,
         .products = products.data(),
         .bias = bias.data(),
         .context = context.data(),
         .stride = stride,
         .c = c.data(),
         .h = h.data(),
         .c_out = {out.data(), apart},
         .h_out = {out.data() + h_at, apart},
         .product_stride = kPanel,
         .product_input = input.data()});
  for (int64_t row = 0; row < rows; ++row) {
    const auto gate = [&](int64_t which, int64_t j) {
      return double{products[(row * 4 + which) * kPanel + j]} +
             bias[(context[row] * 4 + which) * kPanel + j];
    };
    for (int64_t j = 0; j < stride; ++j) {
      const int64_t at = row * stride + j;
      if (j >= units) {  // beyond the panel: untouched
        EXPECT_EQ(c[at], before[at]);
        EXPECT_EQ(h[at], 99.0f);
        continue;
      }
      const double cell =
          Sigma(gate(1, j)) * before[at] + Sigma(gate(0, j)) * std::tanh(gate(2, j));
      EXPECT_NEAR(c[at], cell, 1e-5);
      EXPECT_NEAR(h[at], Sigma(gate(3, j)) * std::tanh(cell), 1e-5);
      EXPECT_EQ(out[row * apart + j], c[at]);
      EXPECT_EQ(out[row * apart + h_at + j], h[at]);
      if constexpr (std::is_same_v<Element, float>) {
        EXPECT_EQ(input[row * kPanel + j], h[at]);
      } else {
        EXPECT_NEAR(FromBf16(input[row * kPanel + j]), h[at], std::abs(h[at]) / 256);
      }
    }
  }
  EXPECT_EQ(std::ranges::count(out, 99.0f), rows * (apart - 2 * units));  // nothing in between
}

TEST_P(MemoryKernelsTest, GatesAreAnLstmCell) {
  for (const int64_t units : {kPanel, int64_t{11}, int64_t{1}}) {
    CheckGates(GetParam().gates, units);
    CheckGates(GetParam().gates_bf16, units);
  }
}

struct Mixture {
  int64_t rows = 40, dimensions, components, stride = 37;
  Floats products = Normal(rows * components * 3 * kPanel, 1);
  Floats bias = Normal(components * 3 * kPanel, 1);
  Floats temperature = Floats(rows, 1.0f);
  Floats uniform = Floats(rows * stride, 0.5f), normal = Normal(rows * stride, 1);
  Floats z = Floats(rows * stride, 99.0f), out = z, surprise = Floats(rows * 2, 99.0f);

  Mixture(int64_t dimensions, int64_t components) : dimensions(dimensions), components(components) {
    std::uniform_real_distribution<float> uniforms(0, 1), temperatures(0.1f, 1.5f);
    for (float& value : uniform) value = uniforms(generator);
    for (float& value : temperature) value = temperatures(generator);
  }

  MixtureBlock Block() {
    return {.rows = rows,
            .dimensions = dimensions,
            .components = components,
            .products = products.data(),
            .bias = bias.data(),
            .temperature = temperature.data(),
            .stride = stride,
            .uniform = uniform.data(),
            .normal = normal.data(),
            .z = z.data(),
            .z_out = {out.data(), stride},
            .surprise_stride = 2,
            .surprise = surprise.data()};
  }

  double Part(int64_t row, int64_t k, int64_t part, int64_t j) const {
    return double{products[((row * components + k) * 3 + part) * kPanel + j]} +
           bias[(k * 3 + part) * kPanel + j];
  }

  double NegativeLogDensity(int64_t row, int64_t j) const {
    double prior = 0, density = 0;
    for (int64_t k = 0; k < components; ++k) {
      const double weight = std::exp(Part(row, k, 0, j)), std = std::exp(Part(row, k, 2, j));
      const double deviation = (z[row * stride + j] - Part(row, k, 1, j)) / std;
      prior += weight;
      density += weight / std * std::exp(-deviation * deviation / 2);
    }
    return std::log(prior) - std::log(density / std::sqrt(2 * std::numbers::pi));
  }

  /// What the draws choose at the row's temperature; nothing when the uniform draw is so near a
  /// border that rounding decides.
  std::optional<double> Sampled(int64_t row, int64_t j) const {
    const double tau = temperature[row];
    double total = 0, sum = 0;
    for (int64_t k = 0; k < components; ++k) total += std::exp(Part(row, k, 0, j) / tau);
    for (int64_t k = 0; k < components; ++k) {
      sum += std::exp(Part(row, k, 0, j) / tau);
      if (std::abs(sum / total - uniform[row * stride + j]) < 1e-5 && k + 1 < components) return {};
      if (sum / total >= uniform[row * stride + j] || k + 1 == components) {
        return Part(row, k, 1, j) +
               std::exp(Part(row, k, 2, j)) * std::sqrt(tau) * normal[row * stride + j];
      }
    }
    return {};
  }
};

TEST_P(MemoryKernelsTest, SampleAndScoreAreTheMixtureDensity) {
  for (const auto& [dimensions, components] :
       {std::pair{kPanel, 5}, {kPanel, 1}, {int64_t{5}, 5}, {int64_t{1}, int{kMaxComponents}}}) {
    Mixture mixture(dimensions, components);
    GetParam().sample(mixture.Block());
    EXPECT_EQ(mixture.out, mixture.z);
    int64_t checked = 0;
    for (int64_t row = 0; row < mixture.rows; ++row) {
      double surprise = 0;
      for (int64_t j = 0; j < mixture.stride; ++j) {
        const float z = mixture.z[row * mixture.stride + j];
        if (j >= dimensions) {
          EXPECT_EQ(z, 99.0f);
          continue;
        }
        surprise += mixture.NegativeLogDensity(row, j);
        if (const auto expected = mixture.Sampled(row, j)) {
          EXPECT_NEAR(z, *expected, 1e-5 * (1 + std::abs(*expected)));
          ++checked;
        }
      }
      EXPECT_NEAR(mixture.surprise[row * 2], surprise, 1e-4 * (1 + std::abs(surprise)));
      EXPECT_EQ(mixture.surprise[row * 2 + 1], 99.0f);
    }
    EXPECT_GT(checked, mixture.rows * dimensions * 9 / 10);

    const Floats sampled = mixture.z, surprise = mixture.surprise;
    GetParam().score(mixture.Block());
    EXPECT_EQ(mixture.z, sampled);
    for (size_t i = 0; i < surprise.size(); ++i) {
      EXPECT_NEAR(mixture.surprise[i], surprise[i], 1e-4 * (1 + std::abs(surprise[i])));
    }
  }
}

TEST_P(MemoryKernelsTest, ARowDependsOnItselfAlone) {
  Mixture whole(kPanel, 5);
  Mixture part = whole;
  GetParam().sample(whole.Block());
  MixtureBlock last = part.Block();
  const int64_t row = whole.rows - 1;
  last.rows = 1;
  last.products += row * 15 * kPanel;
  last.temperature += row;
  last.uniform += row * last.stride;
  last.normal += row * last.stride;
  last.z += row * last.stride;
  last.surprise += row * 2;
  GetParam().sample(last);
  EXPECT_EQ(std::memcmp(last.z, whole.z.data() + row * last.stride, kPanel * sizeof(float)), 0);
  EXPECT_EQ(*last.surprise, whole.surprise[row * 2]);
}

TEST_P(MemoryKernelsTest, DotAndConversion) {
  for (const int64_t size : {1, 15, 16, 50, 512}) {
    const Floats h = Normal(3 * size, 1), weight = Normal(size, 1);
    Floats out(3);
    GetParam().dot(3, size, h.data(), weight.data(), 0.5f, out.data());
    for (int64_t row = 0; row < 3; ++row) {
      double expected = 0.5;
      for (int64_t i = 0; i < size; ++i) expected += double{h[row * size + i]} * weight[i];
      EXPECT_NEAR(out[row], expected, 1e-4);
    }
    std::vector<uint16_t> bits(size);
    GetParam().to_bf16(size, h.data(), bits.data());
    for (int64_t i = 0; i < size; ++i) EXPECT_EQ(bits[i], ToBf16(h[i]));
  }
}

TEST_P(MemoryKernelsTest, RectifiedSums) {
  const int64_t rows = 3, units = 2 * kPanel;
  const Floats products = Normal(rows * units, 1), bias = Normal(units, 1);
  Floats out(rows * units);
  std::vector<uint16_t> bits(rows * units);
  GetParam().rectify(rows, units, products.data(), bias.data(), out.data());
  GetParam().rectify_bf16(rows, units, products.data(), bias.data(), bits.data());
  for (int64_t i = 0; i < rows * units; ++i) {
    EXPECT_EQ(out[i], std::max(products[i] + bias[i % units], 0.0f));
    EXPECT_EQ(bits[i] & 0x7fff, ToBf16(out[i]) & 0x7fff);  // a zero may have a sign
  }
}

TEST_P(MemoryKernelsTest, MeanOfValuesUnderTheSoftmax) {
  for (const int64_t bins : {1, 15, 16, 63}) {
    const int64_t stride = bins + 5;
    const Floats products = Normal(3 * stride, 4), bias = Normal(bins, 1), values = Normal(bins, 9);
    Floats mean(3);
    GetParam().expect(3, bins, products.data(), stride, bias.data(), values.data(), mean.data());
    for (int64_t row = 0; row < 3; ++row) {
      double total = 0, weighted = 0;
      for (int64_t i = 0; i < bins; ++i) {
        const double weight = std::exp(double{products[row * stride + i]} + bias[i]);
        total += weight;
        weighted += weight * values[i];
      }
      EXPECT_NEAR(mean[row], weighted / total, 1e-4) << bins;
    }
  }
}

}  // namespace
}  // namespace genie_env
