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
  constexpr int kLines = (kVectors * sizeof(Vector) + 127) / 128;  // for as many as eight tiles
  Vector sums[kStrips][kRows][kVectors] = {};
  const float *a = block.a, *b = block.b;
  const auto step = [&](int64_t k) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int strip = 0; strip < kStrips; ++strip) {
      Vector weights[kVectors];
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) {
        std::memcpy(&weights[i], b + strip * block.inner * kWidth + k * kWidth + i * kNumbers,
                    sizeof(Vector));
      }
#pragma GCC unroll 6
      for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
        for (int i = 0; i < kVectors; ++i) {
          sums[strip][row][i] += a[row * block.a_stride + k] * weights[i];
        }
      }
    }
  };
  int64_t k = 0;
  for (; k + kSteps <= block.inner; k += kSteps) {
#pragma GCC unroll 2
    for (int line = 0; line < kLines; ++line, upcoming.at += kLine) {
      __builtin_prefetch(upcoming.at, 0, 2);
    }
#pragma GCC unroll 4
    for (int64_t i = 0; i < kSteps; ++i) step(k + i);
  }
  for (; k < block.inner; ++k) step(k);
  upcoming.at = std::min(upcoming.at, upcoming.end);
#pragma GCC unroll 4
  for (int strip = 0; strip < kStrips; ++strip) {
#pragma GCC unroll 6
    for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) {
        std::memcpy(block.c + row * block.c_stride + strip * kWidth + i * kNumbers,
                    &sums[strip][row][i], sizeof(Vector));
      }
    }
  }
}

/// All rows of kStrips strips, at most kRows at a time.
template <typename Vector, int kRows, int kVectors, int kStrips>
GENIE_ENV_INLINE void MultiplyStrips(StripBlock block) {
  constexpr int64_t kNumbers =
      int64_t{kStrips} * kVectors * static_cast<int64_t>(sizeof(Vector) / sizeof(float));
  const auto* end = reinterpret_cast<const char*>(block.b + kNumbers * block.inner);
  Upcoming upcoming{end, end + kNumbers * block.inner * sizeof(float)};
  const auto advance = [&](int64_t rows) {
    block.rows -= rows;
    block.a += rows * block.a_stride;
    block.c += rows * block.c_stride;
  };
  // Of eight rows, two tiles of four are faster than one of six and one of two.
  for (; block.rows >= kRows && block.rows != 8; advance(kRows)) {
    MultiplyTile<Vector, kRows, kVectors, kStrips>(block, upcoming);
  }
  if constexpr (kRows > 4) {
    for (; block.rows >= 4; advance(4)) MultiplyTile<Vector, 4, kVectors, kStrips>(block, upcoming);
  }
  if constexpr (kRows > 2) {
    for (; block.rows >= 2; advance(2)) MultiplyTile<Vector, 2, kVectors, kStrips>(block, upcoming);
  }
  if constexpr (kRows > 1) {
    if (block.rows == 1) MultiplyTile<Vector, 1, kVectors, kStrips>(block, upcoming);
  }
}

/// The whole block. kVectors: of a strip, two or four.
template <typename Vector, int kVectors>
GENIE_ENV_INLINE void MultiplyPanel(StripBlock block) {
  constexpr int64_t kUnit = sizeof(Vector) / sizeof(float), kStrip = kVectors * kUnit;
  constexpr int kRows = 6;
  const auto advance = [&](int64_t columns) {
    block.columns -= columns;
    block.b += columns * block.inner;
    block.c += columns;
  };
  if constexpr (kVectors == 2) {
    // One or two rows have few sums a strip, and each waits for its last addition: they compute
    // several strips at once.
    if (block.rows == 1) {
      for (; block.columns >= 4 * kStrip; advance(4 * kStrip)) {
        MultiplyStrips<Vector, 1, 2, 4>(block);
      }
    }
    if (block.rows <= 2) {
      for (; block.columns >= 2 * kStrip; advance(2 * kStrip)) {
        MultiplyStrips<Vector, 2, 2, 2>(block);
      }
    }
  }
  for (; block.columns >= kStrip; advance(kStrip)) {
    MultiplyStrips<Vector, kRows, kVectors, 1>(block);
  }
  if constexpr (kVectors == 4) {
    if (block.columns >= 3 * kUnit) {
      MultiplyStrips<Vector, kRows, 3, 1>(block);
      advance(3 * kUnit);
    } else if (block.columns >= 2 * kUnit) {
      MultiplyStrips<Vector, kRows, 2, 1>(block);
      advance(2 * kUnit);
    }
  }
  if (block.columns > 0) MultiplyStrips<Vector, kRows, 1, 1>(block);
}

GENIE_ENV_AVX2 void MultiplyAvx2(const StripBlock& block) { MultiplyPanel<EightFloats, 2>(block); }

GENIE_ENV_AVX512 void MultiplyAvx512(const StripBlock& block) {
  MultiplyPanel<SixteenFloats, 4>(block);
}

#endif

}  // namespace

std::vector<StripProduct> SupportedStripProducts() {
#if defined(__x86_64__)
  return Supported<StripProduct>({{InstructionSet::kAvx2, {"avx2", 8, 16, MultiplyAvx2}},
                                  {InstructionSet::kAvx512, {"avx512", 16, 64, MultiplyAvx512}}});
#else
  return {};
#endif
}

}  // namespace genie_env
