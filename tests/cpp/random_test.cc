#include "genie_env/core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

namespace genie_env {
namespace {

constexpr size_t kMany = 1 << 20;

using Fill = void (*)(const RowCounter&, Stream, std::span<float>);

std::vector<float> Draw(Fill fill, size_t count, const RowCounter& row = {7, 1, 2},
                        Stream stream = Stream::kGaussian) {
  std::vector<float> draws(count);
  fill(row, stream, draws);
  return draws;
}

double Mean(const std::vector<float>& draws, const std::function<double(double)>& of) {
  double sum = 0;
  for (const float draw : draws) sum += of(draw);
  return sum / static_cast<double>(draws.size());
}

/// How far the draws are from uniform once `cdf` is applied, as a number of standard deviations of
/// the chi-squared statistic of 1,000 equal bins.
double ChiSquared(const std::vector<float>& draws, const std::function<double(double)>& cdf) {
  constexpr size_t kBins = 1000;
  std::vector<double> counts(kBins);
  for (const float draw : draws) ++counts[static_cast<size_t>(cdf(draw) * kBins)];
  const double expected = static_cast<double>(draws.size()) / kBins;
  double sum = 0;
  for (const double count : counts) sum += (count - expected) * (count - expected) / expected;
  return (sum - (kBins - 1)) / std::sqrt(2.0 * (kBins - 1));
}

/// Kolmogorov's statistic times the root of the count; beyond 1.95 once in a thousand.
double Kolmogorov(std::vector<float> draws, const std::function<double(double)>& cdf) {
  std::sort(draws.begin(), draws.end());
  const auto count = static_cast<double>(draws.size());
  double worst = 0;
  for (size_t i = 0; i < draws.size(); ++i) {
    const double at = cdf(draws[i]);
    worst = std::max(
        {worst, at - static_cast<double>(i) / count, static_cast<double>(i + 1) / count - at});
  }
  return worst * std::sqrt(count);
}

double UniformCdf(double x) { return x; }
double NormalCdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

// From the file kat_vectors of Random123.
TEST(Random, PhiloxGivesThePublishedAnswers) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(Philox(0, {0, 0, 0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox(0xffffffffffffffff, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox(0x299f31d0a4093822, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, ElementsAreTheWordsOfTheirBlocks) {
  const RowCounter row{0x299f31d0a4093822, 5, 6};
  const std::vector<float> uniforms = Draw(FillUniform, 403, row, Stream::kMixture);
  for (uint32_t i = 0; i < uniforms.size(); ++i) {
    const uint32_t word = Philox(row.seed, {i / 4, 2, 6, 5})[i % 4];
    EXPECT_EQ(uniforms[i], (static_cast<double>(word >> 9) + 0.5) / (1 << 23)) << i;
  }
}

TEST(Random, NormalsAreThoseOfBoxAndMuller) {
  const std::vector<float> uniforms = Draw(FillUniform, kMany);
  const std::vector<float> normals = Draw(FillNormal, kMany);
  double worst = 0;
  for (size_t i = 0; i < kMany; i += 2) {
    const double radius = std::sqrt(-2 * std::log(static_cast<double>(uniforms[i])));
    const double angle = 2 * std::numbers::pi * static_cast<double>(uniforms[i + 1]);
    worst = std::max({worst, std::abs(normals[i] - radius * std::cos(angle)),
                      std::abs(normals[i + 1] - radius * std::sin(angle))});
  }
  EXPECT_LT(worst, 1e-6);
}

TEST(Random, UniformsAreUniform) {
  const std::vector<float> draws = Draw(FillUniform, kMany);
  EXPECT_GT(*std::min_element(draws.begin(), draws.end()), 0.0F);
  EXPECT_LT(*std::max_element(draws.begin(), draws.end()), 1.0F);
  EXPECT_NEAR(Mean(draws, [](double x) { return x; }), 0.5, 4 * 0.2887 / std::sqrt(kMany));
  EXPECT_LT(std::abs(ChiSquared(draws, UniformCdf)), 4);
  EXPECT_LT(Kolmogorov(draws, UniformCdf), 1.95);
}

TEST(Random, NormalsAreNormal) {
  const std::vector<float> draws = Draw(FillNormal, kMany);
  const double error = 4 / std::sqrt(kMany);
  EXPECT_NEAR(Mean(draws, [](double x) { return x; }), 0, error);
  EXPECT_NEAR(Mean(draws, [](double x) { return x * x; }), 1, error * std::sqrt(2));
  EXPECT_NEAR(Mean(draws, [](double x) { return x * x * x; }), 0, error * std::sqrt(15));
  EXPECT_NEAR(Mean(draws, [](double x) { return x * x * x * x; }), 3, error * std::sqrt(96));
  EXPECT_LT(std::abs(ChiSquared(draws, NormalCdf)), 4);
  EXPECT_LT(Kolmogorov(draws, NormalCdf), 1.95);
}

// A row of a dream draws a few numbers at every step: what it sees over time must be as good.
TEST(Random, DrawsOverTimeAreNormal) {
  std::vector<float> draws(kMany / 16);
  for (uint32_t step = 0; step < draws.size() / 4; ++step) {
    FillNormal({3, 0, step}, Stream::kGaussian, std::span(draws).subspan(size_t{4} * step, 4));
  }
  EXPECT_LT(std::abs(ChiSquared(draws, NormalCdf)), 4);
  EXPECT_LT(Kolmogorov(draws, NormalCdf), 1.95);
}

TEST(Random, NeighboursAreNotCorrelated) {
  const double error = 4 / std::sqrt(kMany);
  const std::vector<float> draws = Draw(FillNormal, kMany + 4);
  for (size_t lag = 1; lag <= 4; ++lag) {
    const double sum = std::inner_product(draws.begin(), draws.begin() + kMany,
                                          draws.begin() + static_cast<ptrdiff_t>(lag), 0.0);
    EXPECT_NEAR(sum / kMany, 0, error) << lag;
  }
}

TEST(Random, TheFirstElementsDoNotDependOnLengthOrAlignment) {
  for (const Fill fill : {FillUniform, FillNormal}) {
    const std::vector<float> longest = Draw(fill, 1000);
    for (size_t length = 0; length <= 200; ++length) {
      for (size_t offset = 0; offset < 4; ++offset) {
        std::vector<float> buffer(offset + length + 1, 42.0F);
        fill({7, 1, 2}, Stream::kGaussian, std::span(buffer).subspan(offset, length));
        ASSERT_TRUE(std::equal(longest.begin(), longest.begin() + static_cast<ptrdiff_t>(length),
                               buffer.begin() + static_cast<ptrdiff_t>(offset)))
            << length << " elements at offset " << offset;
        ASSERT_EQ(buffer.back(), 42.0F) << "written behind the end";
      }
    }
  }
}

TEST(Random, RowsTogetherGiveTheNumbersOfEachAlone) {
  for (const auto& [one, all] :
       {std::pair{&FillUniform, &FillUniformRows}, std::pair{&FillNormal, &FillNormalRows}}) {
    for (const size_t size : {0, 1, 3, 4, 5, 64, 67}) {
      for (const size_t count : {0, 1, 2, 15, 16, 17, 40}) {
        RowCounters rows;
        std::vector<float> expected, alone(size);
        for (uint32_t i = 0; i < count; ++i) {
          rows.push_back({.seed = 7 + (uint64_t{i} << 31), .episode = i % 3, .step = i % 5});
          one(rows.back(), Stream::kGaussian, alone);
          expected.insert(expected.end(), alone.begin(), alone.end());
        }
        std::vector<float> buffer(count * size + 1, 42.0F);
        all(rows, Stream::kGaussian, std::span(buffer).first(count * size));
        expected.push_back(42.0F);
        EXPECT_EQ(buffer, expected) << count << " rows of " << size;
      }
    }
  }
}

TEST(Random, EveryPartOfTheCounterMatters) {
  const std::vector<float> reference = Draw(FillUniform, 8);
  EXPECT_EQ(Draw(FillUniform, 8), reference);
  EXPECT_NE(Draw(FillUniform, 8, {8, 1, 2}), reference);
  EXPECT_NE(Draw(FillUniform, 8, {7 + (uint64_t{1} << 32), 1, 2}), reference);
  EXPECT_NE(Draw(FillUniform, 8, {7, 2, 2}), reference);
  EXPECT_NE(Draw(FillUniform, 8, {7, 1, 3}), reference);
  EXPECT_NE(Draw(FillUniform, 8, {7, 2, 1}), reference);
  EXPECT_NE(Draw(FillUniform, 8, {7, 1, 2}, Stream::kTermination), reference);
}

// A recorded dream must replay on another machine, so these may never change: not with the
// processor, the compiler or the C library.
TEST(Random, BitsAreTheSameOnEveryMachine) {
  const auto hash = [](const std::vector<float>& draws) {
    uint64_t sum = 0xcbf29ce484222325;  // FNV-1a, by words
    for (const float draw : draws) sum = (sum ^ std::bit_cast<uint32_t>(draw)) * 0x100000001b3;
    return sum;
  };
  EXPECT_EQ(hash(Draw(FillUniform, kMany)), 0x39c907cb249f4597U);
  EXPECT_EQ(hash(Draw(FillNormal, kMany)), 0xce45a69b9987c8fbU);
}

}  // namespace
}  // namespace genie_env
