#include "genie_env/kernels/cpu/strip_product.h"

#include <algorithm>
#include <cstring>

#include "genie_env/kernels/cpu/float_math.h"
#include "genie_env/kernels/cpu/instruction_sets.h"

namespace genie_env {
namespace {

#if defined(__x86_64__)

using EightFloats = float __attribute__((vector_size(32)));
using SixteenFloats = float __attribute__((vector_size(64)));

/// The memory that is needed next, loaded line by line into the core's second cache while it
/// computes. Addresses beyond the weights do no harm.
struct Upcoming {
  const char* at;
  const char* end;
};

/// kRows rows of c for kStrips strips, each of kVectors vectors of columns: the sums stay in
/// registers. Loops of compile-time bounds are unrolled, else the sums would go through memory.
template <typename Vector, int kRows, int kVectors, int kStrips>
GENIE_ENV_INLINE void MultiplyTile(const StripBlock& block, Upcoming& upcoming) {
  constexpr int64_t kNumbers = sizeof(Vector) / sizeof(float), kWidth = kVectors * kNumbers;
  constexpr int64_t kSteps = 4, kLine = 64;
  Vector sums[kStrips][kRows][kVectors] = {};
  const float *a = block.a, *b = block.b;
  const auto step = [&](int64_t k) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int strip = 0; strip < kStrips; ++strip) {
      Vector weights[kVectors];
#pragma GCC unroll 2
      for (int i = 0; i < kVectors; ++i) {
        std::memcpy(&weights[i], b + strip * block.inner * kWidth + k * kWidth + i * kNumbers,
                    sizeof(Vector));
      }
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 2
        for (int i = 0; i < kVectors; ++i) {
          sums[strip][row][i] += a[row * block.a_stride + k] * weights[i];
        }
      }
    }
  };
  int64_t k = 0;
  for (; k + kSteps <= block.inner; k += kSteps) {
    __builtin_prefetch(upcoming.at, 0, 2);
    upcoming.at += kLine;
#pragma GCC unroll 4
    for (int64_t i = 0; i < kSteps; ++i) step(k + i);
  }
  for (; k < block.inner; ++k) step(k);
  upcoming.at = std::min(upcoming.at, upcoming.end);
#pragma GCC unroll 4
  for (int strip = 0; strip < kStrips; ++strip) {
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 2
      for (int i = 0; i < kVectors; ++i) {
        std::memcpy(block.c + row * block.c_stride + strip * kWidth + i * kNumbers,
                    &sums[strip][row][i], sizeof(Vector));
      }
    }
  }
}

/// All rows of kStrips strips, kRows at a time. Returns what is left of the block. One or two rows
/// have few sums a strip, and each waits for the one before: they compute several strips at once.
template <typename Vector, int kRows, int kVectors, int kStrips>
GENIE_ENV_INLINE void MultiplyStrips(StripBlock block) {
  constexpr int64_t kWidth = kVectors * sizeof(Vector) / sizeof(float);
  const auto* end = reinterpret_cast<const char*>(block.b + kStrips * kWidth * block.inner);
  Upcoming upcoming{end, end + kStrips * kWidth * block.inner * sizeof(float)};
  const auto advance = [&](int64_t rows) {
    block.rows -= rows;
    block.a += rows * block.a_stride;
    block.c += rows * block.c_stride;
  };
  // Eight rows are two tiles of four where a tile has six.
  while (block.rows >= kRows && (kRows == 8 || block.rows != 8)) {
    MultiplyTile<Vector, kRows, kVectors, kStrips>(block, upcoming);
    advance(kRows);
  }
  if constexpr (kRows > 4) {
    while (block.rows >= 4) {
      MultiplyTile<Vector, 4, kVectors, kStrips>(block, upcoming);
      advance(4);
    }
  }
  if constexpr (kRows > 2) {
    if (block.rows >= 2) {
      MultiplyTile<Vector, 2, kVectors, kStrips>(block, upcoming);
      advance(2);
    }
  }
  if constexpr (kRows > 1) {
    if (block.rows == 1) MultiplyTile<Vector, 1, kVectors, kStrips>(block, upcoming);
  }
}

/// The whole block. kRows: the most whose sums fit into the registers beside what they need.
template <typename Vector, int kRows>
GENIE_ENV_INLINE void MultiplyPanel(StripBlock block) {
  constexpr int64_t kUnit = sizeof(Vector) / sizeof(float);
  const auto advance = [&](int64_t columns) {
    block.columns -= columns;
    block.b += columns * block.inner;
    block.c += columns;
  };
  if (block.rows == 1) {
    for (; block.columns >= 8 * kUnit; advance(8 * kUnit)) MultiplyStrips<Vector, 1, 2, 4>(block);
  }
  if (block.rows <= 2) {
    for (; block.columns >= 4 * kUnit; advance(4 * kUnit)) MultiplyStrips<Vector, 2, 2, 2>(block);
  }
  for (; block.columns >= 2 * kUnit; advance(2 * kUnit)) MultiplyStrips<Vector, kRows, 2, 1>(block);
  if (block.columns > 0) MultiplyStrips<Vector, kRows, 1, 1>(block);
}

GENIE_ENV_AVX2 void MultiplyAvx2(const StripBlock& block) { MultiplyPanel<EightFloats, 6>(block); }

GENIE_ENV_AVX512 void MultiplyAvx512(const StripBlock& block) {
  MultiplyPanel<SixteenFloats, 8>(block);
}

#endif

}  // namespace

std::vector<StripProduct> SupportedStripProducts() {
#if defined(__x86_64__)
  return Supported<StripProduct>({{InstructionSet::kAvx2, {"avx2", 8, 16, MultiplyAvx2}},
                                  {InstructionSet::kAvx512, {"avx512", 16, 32, MultiplyAvx512}}});
#else
  return {};
#endif
}

}  // namespace genie_env
