#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "genie_env/kernels/cpu/float_math.h"

namespace genie_env {

// Vectors of sixteen float32 numbers. Sums have the same order on every instruction set. A kernel
// is written for any of these types, the template parameter Vector:
//
//   Lanes       the compiler maps it to one to four registers of the enclosing function's
//               instruction set; it often splits loops over plain arrays instead
//   SplitLanes  two vectors of eight: where registers hold eight, GCC keeps Lanes in memory

inline constexpr int64_t kLanes = 16;
using Lanes = float __attribute__((vector_size(64)));
using LaneBits = uint32_t __attribute__((vector_size(64)));
using HalfLanes = float __attribute__((vector_size(32)));
using HalfBits = uint32_t __attribute__((vector_size(32)));

struct SplitLanes {
  HalfLanes low, high;

  GENIE_ENV_INLINE friend SplitLanes operator+(SplitLanes a, SplitLanes b) {
    return {a.low + b.low, a.high + b.high};
  }
  GENIE_ENV_INLINE friend SplitLanes operator-(SplitLanes a, SplitLanes b) {
    return {a.low - b.low, a.high - b.high};
  }
  GENIE_ENV_INLINE friend SplitLanes operator*(SplitLanes a, SplitLanes b) {
    return {a.low * b.low, a.high * b.high};
  }
  GENIE_ENV_INLINE friend SplitLanes operator+(float a, SplitLanes b) {
    return {a + b.low, a + b.high};
  }
  GENIE_ENV_INLINE friend SplitLanes operator+(SplitLanes a, float b) { return b + a; }
  GENIE_ENV_INLINE friend SplitLanes operator-(float a, SplitLanes b) {
    return {a - b.low, a - b.high};
  }
  GENIE_ENV_INLINE friend SplitLanes operator-(SplitLanes a, float b) {
    return {a.low - b, a.high - b};
  }
  GENIE_ENV_INLINE friend SplitLanes operator/(float a, SplitLanes b) {
    return {a / b.low, a / b.high};
  }
  GENIE_ENV_INLINE friend SplitLanes operator*(float a, SplitLanes b) {
    return {a * b.low, a * b.high};
  }
  GENIE_ENV_INLINE friend SplitLanes operator*(SplitLanes a, float b) { return b * a; }
  GENIE_ENV_INLINE SplitLanes& operator+=(SplitLanes other) { return *this = *this + other; }
  GENIE_ENV_INLINE SplitLanes& operator*=(float other) { return *this = *this * other; }
};

/// Integers of as many lanes: of 32, 16 and 8 bits.
template <typename Vector>
struct LaneIntegers;
template <>
struct LaneIntegers<Lanes> {
  using Bits = LaneBits;
  using Narrow = uint16_t __attribute__((vector_size(32)));
  using Bytes = uint8_t __attribute__((vector_size(16)));
};
template <>
struct LaneIntegers<HalfLanes> {
  using Bits = HalfBits;
  using Narrow = uint16_t __attribute__((vector_size(16)));
  using Bytes = uint8_t __attribute__((vector_size(8)));
};

/// Number: a vector or float. A bfloat16 is read as its bits.
template <typename Number>
GENIE_ENV_INLINE Number Load(const float* from) {
  if constexpr (std::is_same_v<Number, SplitLanes>) {
    return {Load<HalfLanes>(from), Load<HalfLanes>(from + kLanes / 2)};
  } else {
    Number x;
    std::memcpy(&x, from, sizeof(x));
    return x;
  }
}

template <typename Number>
GENIE_ENV_INLINE Number Load(const uint16_t* from) {
  if constexpr (sizeof(Number) == sizeof(float)) {
    return std::bit_cast<float>(static_cast<uint32_t>(*from) << 16);
  } else if constexpr (std::is_same_v<Number, SplitLanes>) {
    return {Load<HalfLanes>(from), Load<HalfLanes>(from + kLanes / 2)};
  } else {
    using Bits = typename LaneIntegers<Number>::Bits;
    typename LaneIntegers<Number>::Narrow bits;
    std::memcpy(&bits, from, sizeof(bits));
    return std::bit_cast<Number>(__builtin_convertvector(bits, Bits) << 16);
  }
}

/// ToBf16 of each lane, in its upper half; the lower half is undefined.
template <typename Vector>
GENIE_ENV_INLINE typename LaneIntegers<Vector>::Bits RoundedToBf16(Vector x) {
  const auto bits = std::bit_cast<typename LaneIntegers<Vector>::Bits>(x);
  return bits + 0x7fff + ((bits >> 16) & 1);
}

template <typename Number>
GENIE_ENV_INLINE void Store(Number x, float* to) {
  if constexpr (std::is_same_v<Number, SplitLanes>) {
    Store(x.low, to);
    Store(x.high, to + kLanes / 2);
  } else {
    std::memcpy(to, &x, sizeof(x));
  }
}

template <typename Number>
GENIE_ENV_INLINE void Store(Number x, uint16_t* to) {
  if constexpr (sizeof(Number) == sizeof(float)) {
    *to = ToBf16(x);
  } else if constexpr (std::is_same_v<Number, SplitLanes>) {
    Store(x.low, to);
    Store(x.high, to + kLanes / 2);
  } else {
    using Narrow = typename LaneIntegers<Number>::Narrow;
    const auto bits = __builtin_convertvector(RoundedToBf16(x) >> 16, Narrow);
    std::memcpy(to, &bits, sizeof(bits));
  }
}

/// The lowest byte of each lane's bits.
template <typename Vector>
GENIE_ENV_INLINE void StoreLowBytes(Vector x, uint8_t* to) {
  if constexpr (std::is_same_v<Vector, SplitLanes>) {
    StoreLowBytes(x.low, to);
    StoreLowBytes(x.high, to + kLanes / 2);
  } else {
    using Integers = LaneIntegers<Vector>;
    const auto bits = std::bit_cast<typename Integers::Bits>(x) & 0xff;
    const auto bytes = __builtin_convertvector(bits, typename Integers::Bytes);
    std::memcpy(to, &bytes, sizeof(bytes));
  }
}

/// See float_math.h.
GENIE_ENV_INLINE Lanes Exp(Lanes x) { return ExpOf<Lanes, LaneBits>(x); }
GENIE_ENV_INLINE SplitLanes Exp(SplitLanes x) {
  return {ExpOf<HalfLanes, HalfBits>(x.low), ExpOf<HalfLanes, HalfBits>(x.high)};
}

/// The larger one and the smaller one, lane by lane.
template <typename Number>
GENIE_ENV_INLINE Number Max(Number a, Number b) {
  if constexpr (std::is_same_v<Number, SplitLanes>) {
    return {Max(a.low, b.low), Max(a.high, b.high)};
  } else {
    return a < b ? b : a;
  }
}
template <typename Number>
GENIE_ENV_INLINE Number Min(Number a, Number b) {
  if constexpr (std::is_same_v<Number, SplitLanes>) {
    return {Min(a.low, b.low), Min(a.high, b.high)};
  } else {
    return a > b ? b : a;
  }
}

/// x where a < b and y elsewhere, lane by lane.
template <typename Number>
GENIE_ENV_INLINE Number Select(Number a, Number b, Number x, Number y) {
  if constexpr (std::is_same_v<Number, SplitLanes>) {
    return {Select(a.low, b.low, x.low, y.low), Select(a.high, b.high, x.high, y.high)};
  } else {
    return a < b ? x : y;
  }
}

GENIE_ENV_INLINE SplitLanes SplitOf(SplitLanes x) { return x; }
GENIE_ENV_INLINE SplitLanes SplitOf(Lanes x) {
  return {__builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7),
          __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15)};
}

GENIE_ENV_INLINE float Total(float x) { return x; }
template <typename Vector>
GENIE_ENV_INLINE float Total(Vector x) {
  const SplitLanes split = SplitOf(x);
  const auto halves = split.low + split.high;
  const auto quarters = __builtin_shufflevector(halves, halves, 0, 1, 2, 3) +
                        __builtin_shufflevector(halves, halves, 4, 5, 6, 7);
  return (quarters[0] + quarters[2]) + (quarters[1] + quarters[3]);
}

template <typename Vector>
GENIE_ENV_INLINE float Largest(Vector x) {
  const SplitLanes split = SplitOf(x);
  const auto halves = Max(split.low, split.high);
  const auto quarters = Max(__builtin_shufflevector(halves, halves, 0, 1, 2, 3),
                            __builtin_shufflevector(halves, halves, 4, 5, 6, 7));
  return Max(Max(quarters[0], quarters[2]), Max(quarters[1], quarters[3]));
}

/// Thirty-two numbers, in an order that is fast to load. The order depends on the type that they
/// are loaded from alone.
template <typename Vector>
struct Wide {
  Vector first, second;
};
inline constexpr int64_t kWide = 2 * kLanes;

template <typename Vector>
GENIE_ENV_INLINE Wide<Vector> LoadWide(const float* from) {
  return {Load<Vector>(from), Load<Vector>(from + kLanes)};
}

template <typename Vector>  // the numbers at even places, then the others
GENIE_ENV_INLINE Wide<Vector> LoadWide(const uint16_t* from) {
  if constexpr (std::is_same_v<Vector, SplitLanes>) {
    const auto low = LoadWide<HalfLanes>(from), high = LoadWide<HalfLanes>(from + kLanes);
    return {{low.first, high.first}, {low.second, high.second}};
  } else {
    typename LaneIntegers<Vector>::Bits bits;
    std::memcpy(&bits, from, sizeof(bits));
    return {std::bit_cast<Vector>(bits << 16), std::bit_cast<Vector>(bits & 0xffff0000)};
  }
}

template <typename Vector>
GENIE_ENV_INLINE void StoreWide(const Wide<Vector>& x, float* to) {
  Store(x.first, to);
  Store(x.second, to + kLanes);
}

template <typename Vector>
GENIE_ENV_INLINE void StoreWide(const Wide<Vector>& x, uint16_t* to) {
  if constexpr (std::is_same_v<Vector, SplitLanes>) {
    StoreWide(Wide<HalfLanes>{x.first.low, x.second.low}, to);
    StoreWide(Wide<HalfLanes>{x.first.high, x.second.high}, to + kLanes);
  } else {
    const auto bits = (RoundedToBf16(x.first) >> 16) | (RoundedToBf16(x.second) & 0xffff0000);
    std::memcpy(to, &bits, sizeof(bits));
  }
}

/// Swaps numbers 2i and 2i + 1.
GENIE_ENV_INLINE Lanes SwapPairs(Lanes x) {
  using Pairs = uint64_t __attribute__((vector_size(64)));
  const auto pairs = std::bit_cast<Pairs>(x);
  return std::bit_cast<Lanes>((pairs >> 32) | (pairs << 32));
}
GENIE_ENV_INLINE SplitLanes SwapPairs(SplitLanes x) {
  return {__builtin_shufflevector(x.low, x.low, 1, 0, 3, 2, 5, 4, 7, 6),
          __builtin_shufflevector(x.high, x.high, 1, 0, 3, 2, 5, 4, 7, 6)};
}

/// Calls body.operator()<Vector>(i) for every whole sixteen of 0 .. size - 1, then
/// body.operator()<float>(i) for what is left over.
template <typename Vector, typename Body>
GENIE_ENV_INLINE void ForEachLanes(int64_t size, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) body.template operator()<Vector>(i);
  for (; i < size; ++i) body.template operator()<float>(i);
}

/// The sum of term.operator()<Number>(i) over 0 .. size - 1.
template <typename Vector, typename Term>
GENIE_ENV_INLINE float Sum(int64_t size, const Term& term) {
  Vector even{}, odd{};  // two sums, because each addition waits for the one before
  float rest = 0;
  int64_t i = 0;
  for (; i + 2 * kLanes <= size; i += 2 * kLanes) {
    even += term.template operator()<Vector>(i);
    odd += term.template operator()<Vector>(i + kLanes);
  }
  if (i + kLanes <= size) {
    even += term.template operator()<Vector>(i);
    i += kLanes;
  }
  for (; i < size; ++i) rest += term.template operator()<float>(i);
  return Total(even + odd) + rest;
}

}  // namespace genie_env
