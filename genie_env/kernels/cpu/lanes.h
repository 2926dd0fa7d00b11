#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "genie_env/kernels/cpu/float_math.h"

namespace genie_env {

// Vectors of sixteen float32 numbers. The compiler maps them to one to four registers of the
// enclosing function's instruction set; it often splits loops over plain arrays instead. Sums have
// the same order on every instruction set.

inline constexpr int64_t kLanes = 16;
using Lanes = float __attribute__((vector_size(64)));
using LaneBits = uint32_t __attribute__((vector_size(64)));
using LanePairs = uint64_t __attribute__((vector_size(64)));

/// Number: Lanes or float. A bfloat16 is read as its bits.
template <typename Number>
GENIE_ENV_INLINE Number Load(const float* from) {
  Number x;
  std::memcpy(&x, from, sizeof(x));
  return x;
}

template <typename Number>
GENIE_ENV_INLINE Number Load(const uint16_t* from) {
  if constexpr (sizeof(Number) == sizeof(float)) {
    return std::bit_cast<float>(static_cast<uint32_t>(*from) << 16);
  } else {
    using Narrow = uint16_t __attribute__((vector_size(32)));
    Narrow bits;
    std::memcpy(&bits, from, sizeof(bits));
    return std::bit_cast<Lanes>(__builtin_convertvector(bits, LaneBits) << 16);
  }
}

template <typename Number>
GENIE_ENV_INLINE void Store(Number x, float* to) {
  std::memcpy(to, &x, sizeof(x));
}

/// ToBf16 of each lane, in its upper half; the lower half is undefined.
GENIE_ENV_INLINE LaneBits RoundedToBf16(Lanes x) {
  const auto bits = std::bit_cast<LaneBits>(x);
  return bits + 0x7fff + ((bits >> 16) & 1);
}

GENIE_ENV_INLINE void Store(float x, uint16_t* to) { *to = ToBf16(x); }
GENIE_ENV_INLINE void Store(Lanes x, uint16_t* to) {
  using Narrow = uint16_t __attribute__((vector_size(32)));
  const auto bits = __builtin_convertvector(RoundedToBf16(x) >> 16, Narrow);
  std::memcpy(to, &bits, sizeof(bits));
}

/// See float_math.h.
GENIE_ENV_INLINE Lanes Exp(Lanes x) { return ExpOf<Lanes, LaneBits>(x); }

/// The larger one, lane by lane.
template <typename Number>
GENIE_ENV_INLINE Number Max(Number a, Number b) {
  return a < b ? b : a;
}

GENIE_ENV_INLINE float Total(float x) { return x; }
GENIE_ENV_INLINE float Total(Lanes x) {
  const auto halves = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
                      __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
  const auto quarters = __builtin_shufflevector(halves, halves, 0, 1, 2, 3) +
                        __builtin_shufflevector(halves, halves, 4, 5, 6, 7);
  return (quarters[0] + quarters[2]) + (quarters[1] + quarters[3]);
}

GENIE_ENV_INLINE float Largest(Lanes x) {
  const auto halves = Max(__builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7),
                          __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15));
  const auto quarters = Max(__builtin_shufflevector(halves, halves, 0, 1, 2, 3),
                            __builtin_shufflevector(halves, halves, 4, 5, 6, 7));
  return Max(Max(quarters[0], quarters[2]), Max(quarters[1], quarters[3]));
}

/// Thirty-two numbers, in an order that is fast to load. The order depends on the type that they
/// are loaded from alone.
struct Wide {
  Lanes first, second;
};
inline constexpr int64_t kWide = 2 * kLanes;

GENIE_ENV_INLINE Wide LoadWide(const float* from) {
  return {Load<Lanes>(from), Load<Lanes>(from + kLanes)};
}

GENIE_ENV_INLINE Wide
LoadWide(const uint16_t* from) {  // the numbers at even places, then the others
  LaneBits bits;
  std::memcpy(&bits, from, sizeof(bits));
  return {std::bit_cast<Lanes>(bits << 16), std::bit_cast<Lanes>(bits & 0xffff0000)};
}

GENIE_ENV_INLINE void StoreWide(const Wide& x, float* to) {
  Store(x.first, to);
  Store(x.second, to + kLanes);
}

GENIE_ENV_INLINE void StoreWide(const Wide& x, uint16_t* to) {
  const LaneBits bits = (RoundedToBf16(x.first) >> 16) | (RoundedToBf16(x.second) & 0xffff0000);
  std::memcpy(to, &bits, sizeof(bits));
}

/// Swaps numbers 2i and 2i + 1.
GENIE_ENV_INLINE Lanes SwapPairs(Lanes x) {
  const auto pairs = std::bit_cast<LanePairs>(x);
  return std::bit_cast<Lanes>((pairs >> 32) | (pairs << 32));
}

/// Calls body.operator()<Lanes>(i) for every whole sixteen of 0 .. size - 1, then
/// body.operator()<float>(i) for what is left over.
template <typename Body>
GENIE_ENV_INLINE void ForEachLanes(int64_t size, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) body.template operator()<Lanes>(i);
  for (; i < size; ++i) body.template operator()<float>(i);
}

/// The sum of term.operator()<Number>(i) over 0 .. size - 1.
template <typename Term>
GENIE_ENV_INLINE float Sum(int64_t size, const Term& term) {
  Lanes even{}, odd{};  // two sums, because each addition waits for the one before
  float rest = 0;
  int64_t i = 0;
  for (; i + 2 * kLanes <= size; i += 2 * kLanes) {
    even += term.template operator()<Lanes>(i);
    odd += term.template operator()<Lanes>(i + kLanes);
  }
  if (i + kLanes <= size) {
    even += term.template operator()<Lanes>(i);
    i += kLanes;
  }
  for (; i < size; ++i) rest += term.template operator()<float>(i);
  return Total(even + odd) + rest;
}

}  // namespace genie_env
