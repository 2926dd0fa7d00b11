// Products with packed weights against sums in double precision.
#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "genie_env/kernels/cpu/packed_gemm.h"

namespace genie_env {
namespace {

template <typename Element>
class PackedPanelsTest : public testing::Test {};
using Elements = testing::Types<float, at::BFloat16>;
TYPED_TEST_SUITE(PackedPanelsTest, Elements);

// Rows are written apart from each other, into numbers that must stay as they are.
template <typename Element>
std::vector<float> Product(const PackedPanels<Element>& weight, int64_t panel, int64_t rows,
                           const at::Tensor& x) {
  const int64_t stride = weight.columns() + 3;
  std::vector<float> c(rows * stride, -7.0f);
  const TileScope tiles{kIsBf16<Element>};
  weight.Multiply(panel, rows, x.const_data_ptr<Element>(), x.size(1), c.data(), stride);
  return c;
}

TYPED_TEST(PackedPanelsTest, ProductsAreThoseOfTheWeights) {
  using Element = TypeParam;
  if (kIsBf16<Element> && !CanPackBf16()) GTEST_SKIP() << Bf16UnavailableReason();
  constexpr int64_t kPanels = 2;
  for (const int64_t columns : {64, 48, 32, 16, 8, 10, 72}) {
    for (const int64_t inner : {32, 96, 34, 6}) {
      const at::Tensor weight = at::randn({kPanels, columns, inner}).to(kTypeOf<Element>);
      const at::Tensor x = at::randn({72, inner + 2}).to(kTypeOf<Element>);
      const at::Tensor expected =
          at::matmul(x.narrow(1, 0, inner).to(at::kDouble), weight.to(at::kDouble).mT());
      for (const bool streamed : {false, true}) {
        const PackedPanels<Element> packed(weight.to(at::kFloat), streamed);
        const std::vector<float> whole = Product(packed, 1, 72, x);
        for (const int64_t rows : {72, 64, 56, 48, 40, 32, 24, 16, 8, 4, 2, 1}) {
          const std::vector<float> c = Product(packed, 1, rows, x);
          EXPECT_EQ(std::memcmp(c.data(), whole.data(), c.size() * sizeof(float)), 0)
              << rows << " rows, " << columns << " columns, " << inner << " numbers";
          for (int64_t row = 0; row < rows; ++row) {
            const float* own = c.data() + row * (columns + 3);
            for (int64_t column = 0; column < columns; ++column) {
              EXPECT_NEAR(own[column], (expected[1][row][column].template item<double>()), 1e-4);
            }
            for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(own[columns + i], -7.0f);
            if (row > 3 && row < rows - 3) row += 7;
          }
        }
      }
    }
  }
}

// Products of other layers between them configure the processor's tiles otherwise.
TYPED_TEST(PackedPanelsTest, StreamedWeightsGiveTheSameBits) {
  using Element = TypeParam;
  if (kIsBf16<Element> && !CanPackBf16()) GTEST_SKIP() << Bf16UnavailableReason();
  const at::Tensor weight = at::randn({1, 64, 64}).to(kTypeOf<Element>).to(at::kFloat);
  const at::Tensor x = at::randn({40, 64}).to(kTypeOf<Element>);
  const PackedPanels<Element> plain(weight), streamed(weight, true);
  const std::vector<float> expected = Product(plain, 0, 40, x);
  for (const int64_t rows : {40, 8, 24}) {
    const std::vector<float> some = Product(streamed, 0, rows, x), other = Product(plain, 0, 8, x);
    EXPECT_EQ(std::memcmp(some.data(), expected.data(), some.size() * sizeof(float)), 0);
    EXPECT_EQ(std::memcmp(other.data(), expected.data(), other.size() * sizeof(float)), 0);
  }
}

}  // namespace
}  // namespace genie_env
