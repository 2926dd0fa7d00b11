// Every instruction set's kernels against the formulas in double precision.
#include "genie_env/kernels/cpu/transformer_kernels.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "adversarial_draws.h"
#include "genie_env/kernels/cpu/float_math.h"

namespace genie_env {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

template <typename Element>
class TransformerKernelsTest : public testing::Test {
 protected:
  static constexpr bool kBf16 = sizeof(Element) == 2;
  static constexpr double kTolerance = kBf16 ? 1e-2 : 2e-6;

  Floats Normal(int64_t size, float scale = 1, float mean = 0) {
    std::normal_distribution<float> normal(mean, scale);
    Floats values(size);
    for (float& value : values) value = normal(generator_);
    return values;
  }

  std::vector<Element> Elements(int64_t size) {
    std::vector<Element> values;
    for (const float x : Normal(size)) {
      if constexpr (kBf16) {
        values.push_back(ToBf16(x));
      } else {
        values.push_back(x);
      }
    }
    return values;
  }

  static double Value(Element x) {
    if constexpr (kBf16) {
      return std::bit_cast<float>(static_cast<uint32_t>(x) << 16);
    } else {
      return x;
    }
  }

  static void ExpectNear(Element got, double expected, const char* what) {
    EXPECT_NEAR(Value(got), expected, kTolerance * (1 + std::abs(expected))) << what;
  }

  std::mt19937 generator_{7};
};

using Types = testing::Types<float, uint16_t>;
TYPED_TEST_SUITE(TransformerKernelsTest, Types);

Doubles Normalised(const float* x, int64_t size) {
  const double mean = std::accumulate(x, x + size, 0.0) / static_cast<double>(size);
  double variance = 0;
  for (int64_t i = 0; i < size; ++i) variance += (x[i] - mean) * (x[i] - mean);
  const double scale = 1 / std::sqrt(variance / static_cast<double>(size) + 1e-5);
  Doubles result;
  for (int64_t i = 0; i < size; ++i) result.push_back((x[i] - mean) * scale);
  return result;
}

TYPED_TEST(TransformerKernelsTest, Norm) {
  for (const int64_t width : {6, 40, 192}) {
    constexpr int64_t kPositions = 11;
    const Floats x = this->Normal(kPositions * width, 2, 3), gain = this->Normal(width);
    for (const auto& kernels : SupportedTransformerKernels<TypeParam>()) {
      std::vector<TypeParam> out(x.size());
      kernels.norm({kPositions, width, x.data(), gain.data(), out.data()});
      for (int64_t s = 0; s < kPositions; ++s) {
        const Doubles expected = Normalised(x.data() + s * width, width);
        for (int64_t i = 0; i < width; ++i) {
          this->ExpectNear(out[s * width + i], expected[i] * gain[i], kernels.instruction_set);
        }
      }
    }
  }
}

TYPED_TEST(TransformerKernelsTest, Heads) {
  for (const int64_t head : {2, 20, 64}) {
    constexpr int64_t kPositions = 3, kHeads = 3;
    const int64_t width = kHeads * head, stride = 3 * width + 5;
    const Floats products = this->Normal(kPositions * stride), bias = this->Normal(3 * width);
    const Floats gain = this->Normal(head);
    Floats cosines, sines;
    for (int64_t i = 0; i < head; ++i) {
      const int64_t pair = i / 2;
      const double angle = 0.3 + 0.2 * static_cast<double>(pair);
      cosines.push_back(static_cast<float>(std::cos(angle)));
      sines.push_back(static_cast<float>(i % 2 == 0 ? -std::sin(angle) : std::sin(angle)));
    }
    for (const auto& kernels : SupportedTransformerKernels<TypeParam>()) {
      for (const bool turned : {false, true}) {
        std::vector<TypeParam> query(kPositions * width), key(query), value(query);
        kernels.heads({kPositions, kHeads, head, products.data(), stride, bias.data(), gain.data(),
                       turned ? cosines.data() : nullptr, turned ? sines.data() : nullptr,
                       query.data(), key.data(), value.data()});
        for (int64_t s = 0; s < kPositions; ++s) {
          for (int64_t h = 0; h < kHeads; ++h) {
            for (const int64_t part : {0, 1, 2}) {
              Floats x;
              for (int64_t i = 0; i < head; ++i) {
                const int64_t at = part * width + h * head + i;
                x.push_back(products[s * stride + at] + bias[at]);
              }
              Doubles expected(x.begin(), x.end());
              if (part < 2) expected = Normalised(x.data(), head);
              for (int64_t i = 0; part == 0 && i < head; ++i) expected[i] *= gain[i];
              const Doubles straight = expected;
              for (int64_t i = 0; turned && part < 2 && i < head; ++i) {
                expected[i] = straight[i] * cosines[i] + straight[i ^ 1] * sines[i];
              }
              const auto& got = part == 0 ? query : part == 1 ? key : value;
              for (int64_t i = 0; i < head; ++i) {
                this->ExpectNear(got[s * width + h * head + i], expected[i],
                                 kernels.instruction_set);
              }
            }
          }
        }
      }
    }
  }
}

TYPED_TEST(TransformerKernelsTest, Time) {
  for (const int64_t head : {2, 20, 32, 64, 72}) {
    for (const int64_t slots : {1, 7, 15, 20}) {
      constexpr int64_t kPlaces = 5, kHeads = 2;
      const int64_t width = kHeads * head, visible = slots < 20 ? slots : 13;
      const std::vector<int32_t> place{1, 4};
      const auto positions = static_cast<int64_t>(place.size());
      const auto keys = this->Elements(kPlaces * slots * width);
      const auto values = this->Elements(kPlaces * slots * width);
      const auto query = this->Elements(positions * width), key = this->Elements(positions * width);
      const auto value = this->Elements(positions * width);
      for (const auto& kernels : SupportedTransformerKernels<TypeParam>()) {
        std::vector<TypeParam> out(positions * width);
        Floats scores(TimeScores(kHeads, slots));
        kernels.time({positions, place.data(), kHeads, head, slots, visible, keys.data(),
                      values.data(), query.data(), key.data(), value.data(), scores.data(),
                      out.data()});
        for (int64_t s = 0; s < positions; ++s) {
          for (int64_t first = 0; first < width; first += head) {
            const auto at = [&](const auto& past, const auto& own, int64_t slot, int64_t i) {
              return this->Value(slot == visible
                                     ? own[s * width + first + i]
                                     : past[(place[s] * slots + slot) * width + first + i]);
            };
            Doubles weights;
            for (int64_t slot = 0; slot <= visible; ++slot) {
              double dot = 0;
              for (int64_t i = 0; i < head; ++i) {
                dot += this->Value(query[s * width + first + i]) * at(keys, key, slot, i);
              }
              weights.push_back(std::exp(dot / std::sqrt(static_cast<double>(head))));
            }
            const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
            for (int64_t i = 0; i < head; ++i) {
              double expected = 0;
              for (int64_t slot = 0; slot <= visible; ++slot) {
                expected += weights[slot] / total * at(values, value, slot, i);
              }
              this->ExpectNear(out[s * width + first + i], expected, kernels.instruction_set);
            }
          }
        }
      }
    }
  }
}

TYPED_TEST(TransformerKernelsTest, Neighbours) {
  constexpr int64_t kWidth = 21;  // no whole number of lanes
  for (const auto& [rows, columns] : {std::pair{4, 3}, {1, 1}, {1, 5}, {5, 1}}) {
    const int64_t positions = rows * columns, padded = positions + 3;
    const Floats x = this->Normal(positions * kWidth), weight = this->Normal(9 * kWidth);
    for (const auto& kernels : SupportedTransformerKernels<TypeParam>()) {
      Floats out(padded * kWidth, -7.0f);
      for (const auto& [first, end] : {std::pair<int64_t, int64_t>{0, 5}, {5, padded}}) {
        kernels.neighbours({.first = first,
                            .end = end,
                            .rows = rows,
                            .columns = columns,
                            .width = kWidth,
                            .x = x.data(),
                            .weight = weight.data(),
                            .out = out.data()});
      }
      for (int64_t s = 0; s < positions; ++s) {
        for (int64_t i = 0; i < kWidth; ++i) {
          double expected = x[s * kWidth + i];
          for (int64_t other = 0; other < positions; ++other) {
            const int64_t down = other / columns - s / columns,
                          across = other % columns - s % columns;
            if (std::abs(down) > 1 || std::abs(across) > 1) continue;
            expected += static_cast<double>(x[other * kWidth + i]) *
                        weight[(3 * (down + 1) + across + 1) * kWidth + i];
          }
          EXPECT_NEAR(out[s * kWidth + i], expected, 1e-5) << kernels.instruction_set;
        }
      }
      for (int64_t i = positions * kWidth; i < padded * kWidth; ++i) EXPECT_EQ(out[i], -7.0f);
    }
  }
}

TYPED_TEST(TransformerKernelsTest, Softmax) {
  constexpr int64_t kPositions = 3, kStride = 48;
  constexpr double kScale = 0.3;
  for (const int64_t columns : {1, 24, 48}) {
    const Floats scores = this->Normal(kPositions * kStride, 20);
    for (const auto& kernels : SupportedTransformerKernels<TypeParam>()) {
      Floats room = scores;
      std::vector<TypeParam> out(scores.size(), TypeParam(1));
      kernels.softmax(kPositions, columns, kStride, kScale, room.data(), out.data());
      for (int64_t s = 0; s < kPositions; ++s) {
        double total = 0;
        for (int64_t i = 0; i < columns; ++i) total += std::exp(kScale * scores[s * kStride + i]);
        for (int64_t i = 0; i < kStride; ++i) {
          const double expected =
              i < columns ? std::exp(kScale * scores[s * kStride + i]) / total : 0;
          this->ExpectNear(out[s * kStride + i], expected, kernels.instruction_set);
        }
      }
    }
  }
}

TYPED_TEST(TransformerKernelsTest, GeluAddAndConvert) {
  constexpr int64_t kPositions = 40, kColumns = 37, kStride = 64;
  const Floats products = this->Normal(kPositions * kStride, 4), bias = this->Normal(kColumns);
  const Floats before = this->Normal(kPositions * kStride);
  for (const auto& kernels : SupportedTransformerKernels<TypeParam>()) {
    std::vector<TypeParam> gelu(products.size()), converted(products.size());
    Floats sum = before;
    kernels.gelu(kPositions, kColumns, products.data(), kStride, bias.data(), gelu.data(), kStride);
    kernels.convert(kPositions, kColumns, products.data(), kStride, converted.data(), kStride);
    kernels.add(kPositions, kColumns, products.data(), kStride, bias.data(), sum.data(), kStride);
    for (int64_t s = 0; s < kPositions; ++s) {
      for (int64_t i = 0; i < kColumns; ++i) {
        const int64_t at = s * kStride + i;
        const double x = double{products[at]} + bias[i];
        const double u = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
        EXPECT_NEAR(this->Value(gelu[at]), x * (1 + std::tanh(u)) / 2,
                    this->kBf16 ? 2e-4 + std::abs(x) / 256 : 2e-6 * (1 + std::abs(x)));
        this->ExpectNear(converted[at], products[at], kernels.instruction_set);
        EXPECT_NEAR(sum[at], before[at] + x, 1e-5);
      }
      EXPECT_EQ(sum[s * kStride + kColumns], before[s * kStride + kColumns]);
    }
  }
}

TYPED_TEST(TransformerKernelsTest, DescribeAndSample) {
  for (const int64_t codes : {5, 16, 100, 1024}) {
    const Floats products = this->Normal(codes, 2), bias = this->Normal(codes);
    for (const auto& kernels : SupportedTransformerKernels<TypeParam>()) {
      const Categorical got = kernels.describe(codes, products.data(), bias.data());
      double top = -1e9, total = 0;
      for (int64_t i = 0; i < codes; ++i) {
        top = std::max(top, double{products[i]} + bias[i]);
        total += std::exp(double{products[i]} + bias[i]);
      }
      EXPECT_NEAR(got.top, top, 1e-5) << kernels.instruction_set;
      EXPECT_NEAR(got.log_sum, std::log(total), 1e-5) << kernels.instruction_set;
      constexpr double kTemperature = 0.7;
      Doubles reached{0};
      for (int64_t i = 0; i < codes; ++i) {
        reached.push_back(reached.back() +
                          std::exp((double{products[i]} + bias[i] - top) / kTemperature));
      }
      for (const float uniform : {0.0f, 0.2f, 0.5f, 0.83f, 0.9999f}) {
        const int64_t code = kernels.sample(codes, products.data(), bias.data(), got.top,
                                            1 / static_cast<float>(kTemperature), uniform);
        EXPECT_LE(reached[code] / reached.back(), uniform + 1e-5) << kernels.instruction_set;
        EXPECT_GE(reached[code + 1] / reached.back(), uniform - 1e-5) << kernels.instruction_set;
      }
    }
  }
}

TYPED_TEST(TransformerKernelsTest, NoCodeWithoutWeightIsDrawn) {
  for (const std::vector<float>& logits : AdversarialLogits()) {
    const auto codes = static_cast<int64_t>(logits.size());
    const Floats bias(codes, 0.0f);
    for (const auto& kernels : SupportedTransformerKernels<TypeParam>()) {
      const float top = kernels.describe(codes, logits.data(), bias.data()).top;
      for (const double temperature : {0.1, 1.0, 1.5}) {
        for (const float uniform : AdversarialUniforms()) {
          const int64_t code = kernels.sample(codes, logits.data(), bias.data(), top,
                                              1 / static_cast<float>(temperature), uniform);
          ASSERT_TRUE(HasWeight(logits, temperature, code))
              << kernels.instruction_set << ": " << code << " of " << codes << " at " << uniform;
        }
      }
    }
  }
}

}  // namespace
}  // namespace genie_env
