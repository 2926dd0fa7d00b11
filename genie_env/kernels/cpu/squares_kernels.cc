#include "genie_env/kernels/cpu/squares_kernels.h"

#include <algorithm>

#include "genie_env/kernels/cpu/instruction_sets.h"
#include "genie_env/kernels/cpu/lanes.h"

namespace genie_env {
namespace {

// Calls add(numbers) for what the squares have at output pixel 2 pair + odd: `taps` of each row, of
// pixels from `pair` - begin backwards.
template <typename Add>
GENIE_ENV_INLINE void ForEachTap(const SquaresBlock& b, int64_t pair, int64_t odd, int64_t begin,
                                 int64_t taps, const Add& add) {
  const float* row = b.squares + (pair - begin) * b.pixel_stride + (2 * begin + odd) * b.channels;
  for (int64_t i = 0; i < b.rows; ++i, row += b.row_stride) {
    for (int64_t tap = 0; tap < taps; ++tap) add(row + tap * (2 * b.channels - b.pixel_stride));
  }
}

template <typename Add>
GENIE_ENV_INLINE void ForEachSquare(const SquaresBlock& b, int64_t pair, int64_t odd,
                                    const Add& add) {
  const int64_t begin = std::max<int64_t>(pair - b.side + 1, 0);
  const int64_t taps = std::min((b.kernel - odd + 1) / 2, pair + 1) - begin;
  if (taps == 3) {  // as everywhere but at the edges, for kernels of 5 and 6: the loop is unrolled
    ForEachTap(b, pair, odd, begin, 3, add);
  } else {
    ForEachTap(b, pair, odd, begin, taps, add);
  }
}

template <typename Vector, int kVectors, bool kRectified, typename Element>
GENIE_ENV_INLINE void SumPixel(const SquaresBlock& b, int64_t pixel, int64_t channel,
                               Element* out) {
  Vector sums[kVectors];
  for (int i = 0; i < kVectors; ++i) {
    sums[i] = Load<Vector>(b.bias + pixel * b.bias_stride + channel + i * kLanes);
  }
  ForEachSquare(b, pixel / 2, pixel % 2, [&](const float* numbers) {
    for (int i = 0; i < kVectors; ++i) sums[i] += Load<Vector>(numbers + channel + i * kLanes);
  });
  for (int i = 0; i < kVectors; ++i) {
    if constexpr (kRectified) sums[i] = Max(sums[i], Vector{});
    Store(sums[i], out + pixel * b.channels + channel + i * kLanes);
  }
}

template <typename Vector, bool kRectified, typename Element>
GENIE_ENV_INLINE void SumRow(const SquaresBlock& b, Element* out) {
  const int64_t pixels = 2 * (b.side - 1) + b.kernel;
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    int64_t channel = 0;
    for (; channel + 4 * kLanes <= b.channels; channel += 4 * kLanes) {
      SumPixel<Vector, 4, kRectified>(b, pixel, channel, out);
    }
    for (; channel + 2 * kLanes <= b.channels; channel += 2 * kLanes) {
      SumPixel<Vector, 2, kRectified>(b, pixel, channel, out);
    }
    for (; channel < b.channels; channel += kLanes)
      SumPixel<Vector, 1, kRectified>(b, pixel, channel, out);
  }
}

GENIE_ENV_INLINE void NarrowSumRow(const SquaresBlock& b, float* out) {
  HalfLanes bias{};
  for (int64_t i = 0; i < 2 * b.channels; ++i) bias[i] = b.bias[i % b.channels];
  const int64_t pairs = b.side - 1 + b.kernel / 2;
  for (int64_t pair = 0; pair < pairs; ++pair) {
    HalfLanes sum = bias;
    // Both pixels of a pair at once; what comes after them is overwritten by the next pair.
    ForEachSquare(b, pair, 0, [&](const float* numbers) { sum += Load<HalfLanes>(numbers); });
    Store(sum, out + 2 * pair * b.channels);
  }
}

template <typename Vector>
GENIE_ENV_INLINE void Bytes(int64_t size, const float* x, uint8_t* out) {
  // Adding 1.5 * 2^23 rounds to nearest, ties to even, and leaves the integer in the low bits.
  constexpr float kRound = 12582912.0f;
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    StoreLowBytes(255.0f / (1.0f + Exp(-1.0f * Load<Vector>(x + i))) + kRound, out + i);
  }
  for (; i < size; ++i) {
    const float level = 255.0f / (1.0f + Exp(-x[i])) + kRound;
    out[i] = static_cast<uint8_t>(std::bit_cast<uint32_t>(level));
  }
}

// Attributes cannot be in parentheses. NOLINTBEGIN(bugprone-macro-parentheses)
#define GENIE_ENV_SQUARES_KERNELS(Name, ATTRIBUTE, Vector, text)                                 \
  struct Name {                                                                                  \
    ATTRIBUTE static void Sum(const SquaresBlock& b, float* out) {                               \
      SumRow<Vector, false>(b, out);                                                             \
    }                                                                                            \
    ATTRIBUTE static void Rectified(const SquaresBlock& b, float* out) {                         \
      SumRow<Vector, true>(b, out);                                                              \
    }                                                                                            \
    ATTRIBUTE static void RectifiedBf16(const SquaresBlock& b, uint16_t* out) {                  \
      SumRow<Vector, true>(b, out);                                                              \
    }                                                                                            \
    ATTRIBUTE static void NarrowSum(const SquaresBlock& b, float* out) { NarrowSumRow(b, out); } \
    ATTRIBUTE static void ToBytes(int64_t size, const float* x, uint8_t* out) {                  \
      Bytes<Vector>(size, x, out);                                                               \
    }                                                                                            \
    static constexpr SquaresKernels kTable{                                                      \
        text, Sum, Rectified, RectifiedBf16, NarrowSum, ToBytes};                                \
  };
// NOLINTEND(bugprone-macro-parentheses)

GENIE_ENV_SQUARES_KERNELS(Baseline, , Lanes, "baseline")
#if defined(__x86_64__)
GENIE_ENV_SQUARES_KERNELS(Avx2, GENIE_ENV_AVX2, SplitLanes, "avx2")
GENIE_ENV_SQUARES_KERNELS(Avx512, GENIE_ENV_AVX512, Lanes, "avx512")
#endif

}  // namespace

std::vector<SquaresKernels> SupportedSquaresKernels() {
  return Supported<SquaresKernels>({
    {InstructionSet::kBaseline, Baseline::kTable},
#if defined(__x86_64__)
        {InstructionSet::kAvx2, Avx2::kTable}, {InstructionSet::kAvx512, Avx512::kTable},
#endif
  });
}

}  // namespace genie_env
