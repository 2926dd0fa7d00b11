#pragma once

#include <bit>
#include <cstdint>

namespace genie_env {

// Branch-free float32 exp and log. Loops over them become vector code for the instruction set of
// the enclosing function, which calls of the C library would prevent. The relative error is below
// 5e-7. The coefficients are minimax fits on the reduced ranges. `Bits` is an unsigned integer as
// wide as the number: uint32_t, or a vector of as many as the number has lanes.
//
// core/random.cc has another logarithm, with other coefficients and another order of operations. A
// seed's draws have its bits and must keep them on every processor; here the compiler may fuse
// operations where an instruction set can.

#define GENIE_ENV_INLINE inline __attribute__((always_inline))

/// exp(x) for x from -87 (1.6e-38) to 88 (1.7e38).
template <typename Number, typename Bits>
GENIE_ENV_INLINE Number ExpWithinRange(Number x) {
  // exp(x) = 2^n exp(r) with |r| <= ln(2) / 2. Adding 1.5 * 2^23 rounds to an integer, and leaves
  // it in the low bits. ln(2) comes in two parts, so that n ln(2) is exact enough.
  constexpr float kRound = 12582912.0f;
  const Number shifted = x * 1.44269504f + kRound;
  const Number n = shifted - kRound;
  const Number r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  Number q = 1.381461275741458e-3f * r + 8.368710055947304e-3f;
  q = q * r + 4.166838899254799e-2f;
  q = q * r + 0.1666652113199234f;
  q = q * r + 0.4999999403953552f;
  const Number power = (q * r) * r + r + 1.0f;
  return std::bit_cast<Number>(std::bit_cast<Bits>(power) + (std::bit_cast<Bits>(shifted) << 23));
}

/// The same, with x clamped to that range.
template <typename Number, typename Bits>
GENIE_ENV_INLINE Number ExpOf(Number x) {
  const Number low = Number{} - 87.0f, high = Number{} + 88.0f;
  x = x < low ? low : x;
  x = x > high ? high : x;
  return ExpWithinRange<Number, Bits>(x);
}
GENIE_ENV_INLINE float Exp(float x) { return ExpOf<float, uint32_t>(x); }

/// log(x) for normal x above 0.
GENIE_ENV_INLINE float Log(float x) {
  // x = 2^n m with m in [sqrt(1/2), sqrt(2)): subtracting the bits of sqrt(1/2) makes the exponent
  // field step at that place.
  constexpr uint32_t kSqrtHalf = 0x3f3504f3;
  const uint32_t bits = std::bit_cast<uint32_t>(x) - kSqrtHalf;
  const float n = static_cast<float>(static_cast<int32_t>(bits) >> 23);
  const float f = std::bit_cast<float>((bits & 0x007fffff) + kSqrtHalf) - 1.0f;
  float q = -7.634492963552475e-2f;
  q = q * f + 0.12761574983596802f;
  q = q * f - 0.13160182535648346f;
  q = q * f + 0.14201758801937103f;
  q = q * f - 0.16623356938362122f;
  q = q * f + 0.20001226663589478f;
  q = q * f - 0.2500081956386566f;
  q = q * f + 0.3333333134651184f;
  const float square = f * f;
  const float tail = q * f * square - 0.5f * square;
  return n * 0.693359375f + (f + (tail + n * -2.12194440e-4f));
}

/// The upper half of the bits of x, rounded to nearest, ties to even: bfloat16. x is no NaN.
GENIE_ENV_INLINE uint16_t ToBf16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

}  // namespace genie_env
