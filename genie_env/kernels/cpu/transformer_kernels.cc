#include "genie_env/kernels/cpu/transformer_kernels.h"

#include <algorithm>
#include <cmath>

#include "genie_env/core/limits.h"
#include "genie_env/core/random.h"
#include "genie_env/core/transformer_constants.h"
#include "genie_env/kernels/cpu/float_math.h"
#include "genie_env/kernels/cpu/gelu.h"
#include "genie_env/kernels/cpu/instruction_sets.h"
#include "genie_env/kernels/cpu/lanes.h"

namespace genie_env {
namespace {

constexpr auto kEpsilon = static_cast<float>(kNormEpsilon);
static_assert(kEpsilon == 1e-5f);
constexpr float kLowest = -3e38f;

/// The largest of value.operator()<Number>(i) over 0 .. size - 1.
template <typename Vector, typename Value>
GENIE_ENV_INLINE float LargestOf(int64_t size, const Value& value) {
  Vector lanes = Vector{} + kLowest;
  float rest = kLowest;
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) lanes = Max(lanes, value.template operator()<Vector>(i));
  for (; i < size; ++i) rest = Max(rest, value.template operator()<float>(i));
  return Max(Largest(lanes), rest);
}

// It computes a few positions at a time, step by step, because each step waits for a sum.
template <typename Vector, typename Element>
GENIE_ENV_INLINE void NormRows(const NormBlock<Element>& b) {
  constexpr int64_t kGroup = 8;
  const float share = 1.0f / static_cast<float>(b.width);
  float means[kGroup], scales[kGroup];
  for (int64_t first = 0; first < b.positions; first += kGroup) {
    const int64_t count = std::min(kGroup, b.positions - first);
    const float* x = b.x + first * b.width;
    Element* out = b.out + first * b.width;
    for (int64_t s = 0; s < count; ++s) {
      means[s] = share * Sum<Vector>(b.width, [&]<typename Number>(int64_t i) {
                   return Load<Number>(x + s * b.width + i);
                 });
    }
    for (int64_t s = 0; s < count; ++s) {
      scales[s] = share * Sum<Vector>(b.width, [&]<typename Number>(int64_t i) {
                    const Number off = Load<Number>(x + s * b.width + i) - means[s];
                    return off * off;
                  });
    }
    for (int64_t s = 0; s < count; ++s) scales[s] = 1.0f / std::sqrt(scales[s] + kEpsilon);
    for (int64_t s = 0; s < count; ++s) {
      ForEachLanes<Vector>(b.width, [&]<typename Number>(int64_t i) {
        const Number off = Load<Number>(x + s * b.width + i) - means[s];
        Store(off * scales[s] * Load<Number>(b.gain + i), out + s * b.width + i);
      });
    }
  }
}

/// The other number of each pair 2i and 2i + 1.
template <typename Number>
GENIE_ENV_INLINE Number Partner(const float* x, int64_t i) {
  if constexpr (sizeof(Number) == sizeof(float)) {
    return x[i ^ 1];
  } else {
    return SwapPairs(Load<Number>(x + i));
  }
}

// It computes all heads of queries and keys step by step, and not head by head, because each step
// waits for a sum.
template <typename Vector, typename Element>
GENIE_ENV_INLINE void HeadsRows(const HeadsBlock<Element>& b) {
  const int64_t head = b.head, width = b.heads * head;
  const float share = 1.0f / static_cast<float>(head);
  float x[2 * kMaxWidth], scales[2 * kMaxWidth];
  for (int64_t s = 0; s < b.positions; ++s) {
    const float* products = b.products + s * b.product_stride;
    const auto value = [&]<typename Number>(int64_t i) {
      return Load<Number>(products + i) + Load<Number>(b.bias + i);
    };
    for (int64_t h = 0; h < 2 * b.heads; ++h) {  // scales holds the means at first
      scales[h] = share * Sum<Vector>(head, [&]<typename Number>(int64_t i) {
                    const Number sum = value.template operator()<Number>(h * head + i);
                    Store(sum, x + h * head + i);
                    return sum;
                  });
    }
    for (int64_t h = 0; h < 2 * b.heads; ++h) {
      const float mean = scales[h];
      scales[h] = share * Sum<Vector>(head, [&]<typename Number>(int64_t i) {
                    const Number off = Load<Number>(x + h * head + i) - mean;
                    Store(off, x + h * head + i);
                    return off * off;
                  });
    }
    for (int64_t h = 0; h < 2 * b.heads; ++h) scales[h] = 1.0f / std::sqrt(scales[h] + kEpsilon);
    for (int64_t h = 0; h < b.heads; ++h) {
      ForEachLanes<Vector>(head, [&]<typename Number>(int64_t i) {
        float* own = x + h * head + i;
        Store(Load<Number>(own) * Load<Number>(b.query_gain + i), own);
      });
    }
    for (int64_t h = 0; h < 2 * b.heads; ++h) {
      const float* own = x + h * head;
      Element* out =
          h < b.heads ? b.query + s * width + h * head : b.key + s * width + (h - b.heads) * head;
      ForEachLanes<Vector>(head, [&]<typename Number>(int64_t i) {
        Number turned = Load<Number>(own + i);
        if (b.cosines != nullptr) {
          // In two statements, so that all types of vectors fuse the same product with the sum.
          const Number kept = turned * Load<Number>(b.cosines + i);
          turned = kept + Partner<Number>(own, i) * Load<Number>(b.sines + i);
        }
        // All scales are written; the analyzer forgets it. NOLINTNEXTLINE(clang-analyzer-core.*)
        Store(turned * scales[h], out + i);
      });
    }
    ForEachLanes<Vector>(width, [&]<typename Number>(int64_t i) {
      Store(value.template operator()<Number>(2 * width + i), b.value + s * width + i);
    });
  }
}

/// exp(x - largest) / their sum, in place.
template <typename Vector>
GENIE_ENV_INLINE void ToShares(int64_t size, float* x) {
  const float top =
      LargestOf<Vector>(size, [&]<typename Number>(int64_t i) { return Load<Number>(x + i); });
  const float inverse = 1.0f / Sum<Vector>(size, [&]<typename Number>(int64_t i) {
                          const Number power = Exp(Load<Number>(x + i) - top);
                          Store(power, x + i);
                          return power;
                        });
  ForEachLanes<Vector>(
      size, [&]<typename Number>(int64_t i) { Store(Load<Number>(x + i) * inverse, x + i); });
}

template <typename Element>
GENIE_ENV_INLINE void Prefetch(const Element* from, int64_t size) {
  constexpr int64_t kLine = 64 / sizeof(Element);
  for (int64_t i = 0; i < size; i += kLine) __builtin_prefetch(from + i);
}

template <typename Vector, typename Element>
GENIE_ENV_INLINE void TimeRows(const TimeBlock<Element>& b) {
  const int64_t head = b.head, width = b.heads * head, whole = head / kWide * kWide;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head));
  const int64_t stride = TimeScores(1, b.slots);
  float query[kMaxWidth];  // in the order of LoadWide
  for (int64_t s = 0; s < b.positions; ++s) {
    const Element* keys = b.cached_keys + b.place[s] * b.slots * width;
    const Element* values = b.cached_values + b.place[s] * b.slots * width;
    for (int64_t first = 0; first < width; first += head) {
      const Element* in = b.query + s * width + first;
      for (int64_t i = 0; i < whole; i += kWide) {
        const auto x = LoadWide<Vector>(in + i);
        Store(x.first * scale, query + first + i);
        Store(x.second * scale, query + first + i + kLanes);
      }
      for (int64_t i = whole; i < head; ++i) query[first + i] = Load<float>(in + i) * scale;
    }
    const int64_t next = b.place[std::min(s + 1, b.positions - 1)] - b.place[s];
    for (int64_t slot = 0; slot <= b.visible; ++slot) {
      const Element* key = slot == b.visible ? b.key + s * width : keys + slot * width;
      if (slot < b.visible) {  // loads what is read next
        Prefetch(values + slot * width, width);
        Prefetch(keys + (next * b.slots + slot) * width, width);
      }
      float* score = b.scores + slot;
      for (int64_t first = 0; first < width; first += head, score += stride) {
        Vector sum{}, other{};
        for (int64_t i = first; i < first + whole; i += kWide) {
          const auto x = LoadWide<Vector>(key + i);
          sum += Load<Vector>(query + i) * x.first;
          other += Load<Vector>(query + i + kLanes) * x.second;
        }
        float rest = 0;
        for (int64_t i = first + whole; i < first + head; ++i) {
          rest += query[i] * Load<float>(key + i);
        }
        *score = Total(sum + other) + rest;
      }
    }
    float* shares = b.scores;
    for (int64_t first = 0; first < width; first += head, shares += stride) {
      for (int64_t i = b.visible + 1; i % kLanes != 0; ++i) shares[i] = kLowest;
      ToShares<Vector>((b.visible + kLanes) / kLanes * kLanes, shares);
      const Element* own = b.value + s * width;
      Element* out = b.out + s * width;
      for (int64_t i = first; i < first + whole; i += kWide) {
        auto mixed = LoadWide<Vector>(own + i);
        mixed.first *= shares[b.visible];
        mixed.second *= shares[b.visible];
        for (int64_t slot = 0; slot < b.visible; ++slot) {
          const auto x = LoadWide<Vector>(values + slot * width + i);
          mixed.first += shares[slot] * x.first;
          mixed.second += shares[slot] * x.second;
        }
        StoreWide(mixed, out + i);
      }
      for (int64_t i = first + whole; i < first + head; ++i) {
        float mixed = shares[b.visible] * Load<float>(own + i);
        for (int64_t slot = 0; slot < b.visible; ++slot) {
          mixed += shares[slot] * Load<float>(values + slot * width + i);
        }
        Store(mixed, out + i);
      }
    }
  }
}

template <typename Vector>
GENIE_ENV_INLINE void NeighboursRows(const NeighboursBlock& b) {
  const int64_t end = std::min(b.end, b.rows * b.columns);
  for (int64_t s = b.first; s < end; ++s) {
    const int64_t row = s / b.columns, column = s % b.columns;
    const int64_t top = std::max<int64_t>(row - 1, 0), bottom = std::min(row + 1, b.rows - 1);
    const int64_t left = std::max<int64_t>(column - 1, 0);
    const int64_t right = std::min(column + 1, b.columns - 1);
    ForEachLanes<Vector>(b.width, [&]<typename Number>(int64_t i) {
      Number sum = Load<Number>(b.x + s * b.width + i);
      for (int64_t r = top; r <= bottom; ++r) {
        for (int64_t c = left; c <= right; ++c) {
          const int64_t place = 3 * (r - row + 1) + c - column + 1;
          sum += Load<Number>(b.weight + place * b.width + i) *
                 Load<Number>(b.x + (r * b.columns + c) * b.width + i);
        }
      }
      Store(sum, b.out + s * b.width + i);
    });
  }
}

template <typename Vector, typename Element>
GENIE_ENV_INLINE void SoftmaxRows(int64_t positions, int64_t columns, int64_t stride, float scale,
                                  float* scores, Element* out) {
  for (int64_t s = 0; s < positions; ++s, scores += stride, out += stride) {
    const float top = LargestOf<Vector>(
        columns, [&]<typename Number>(int64_t i) { return Load<Number>(scores + i); });
    const float inverse = 1.0f / Sum<Vector>(columns, [&]<typename Number>(int64_t i) {
                            const Number power = Exp((Load<Number>(scores + i) - top) * scale);
                            Store(power, scores + i);
                            return power;
                          });
    ForEachLanes<Vector>(columns, [&]<typename Number>(int64_t i) {
      Store(Load<Number>(scores + i) * inverse, out + i);
    });
    std::fill(out + columns, out + stride, Element{});
  }
}

template <typename Vector>
GENIE_ENV_INLINE void AddRows(int64_t positions, int64_t columns, const float* products,
                              int64_t product_stride, const float* bias, float* x,
                              int64_t x_stride) {
  for (int64_t s = 0; s < positions; ++s, products += product_stride, x += x_stride) {
    ForEachLanes<Vector>(columns, [&]<typename Number>(int64_t i) {
      Store(Load<Number>(x + i) + (Load<Number>(products + i) + Load<Number>(bias + i)), x + i);
    });
  }
}

/// GeluShare for what is rounded to Element.
template <typename Element, typename Number>
GENIE_ENV_INLINE Number RoundedGeluShare(Number x) {
  if constexpr (sizeof(Element) == sizeof(float)) {
    return GeluShare(x);
  } else {
    // A polynomial that is 0 and 1 at the ends. It is a minimax fit of gelu(x): the error is below
    // 2e-4, a fraction of what bfloat16 rounds away.
    const Number end = Number{} + 3.8f;
    x = Min(Max(x, Number{} - end), end);
    const Number square = x * x;
    Number q = 3.60949419e-8f * square - 2.26177831e-6f;
    q = q * square + 6.08714018e-5f;
    q = q * square - 9.37446392e-4f;
    q = q * square + 9.36179902e-3f;
    q = q * square - 6.58132803e-2f;
    q = q * square + 0.39865478f;
    return 0.5f + x * q;
  }
}

template <typename Vector, typename Element>
GENIE_ENV_INLINE void GeluRows(int64_t positions, int64_t columns, const float* products,
                               int64_t product_stride, const float* bias, Element* out,
                               int64_t out_stride) {
  for (int64_t s = 0; s < positions; ++s, products += product_stride, out += out_stride) {
    ForEachLanes<Vector>(columns, [&]<typename Number>(int64_t i) {
      const Number x = Load<Number>(products + i) + Load<Number>(bias + i);
      Store(x * RoundedGeluShare<Element>(x), out + i);
    });
  }
}

template <typename Vector, typename Element>
GENIE_ENV_INLINE void ConvertRows(int64_t positions, int64_t columns, const float* in,
                                  int64_t in_stride, Element* out, int64_t out_stride) {
  for (int64_t s = 0; s < positions; ++s, in += in_stride, out += out_stride) {
    ForEachLanes<Vector>(columns,
                         [&]<typename Number>(int64_t i) { Store(Load<Number>(in + i), out + i); });
  }
}

template <typename Vector>
GENIE_ENV_INLINE Categorical DescribeRow(int64_t codes, const float* products, const float* bias) {
  const auto logit = [&]<typename Number>(int64_t i) {
    return Load<Number>(products + i) + Load<Number>(bias + i);
  };
  const float top = LargestOf<Vector>(codes, logit);
  return {top, top + Log(Sum<Vector>(codes, [&]<typename Number>(int64_t i) {
                 return Exp(logit.template operator()<Number>(i) - top);
               }))};
}

/// Adds the weights of the codes first .. end - 1 to `sum` until it reaches the aim; returns the
/// last code that made it larger, -1 where none did. The sums that led to the aim may be rounded
/// otherwise, so that it is missed by a little: whatever code comes last, it has a weight.
template <typename Weight>
GENIE_ENV_INLINE int64_t LastThatRaises(int64_t first, int64_t end, float sum, float aim,
                                        const Weight& weight) {
  int64_t last = -1;
  for (int64_t i = first; i < end && sum < aim; ++i) {
    const float next = sum + weight.template operator()<float>(i);
    if (next > sum) last = i;
    sum = next;
  }
  return last;
}

template <typename Vector>
GENIE_ENV_INLINE int64_t SampleRow(int64_t codes, const float* products, const float* bias,
                                   float top, float inverse_temperature, float uniform) {
  const auto weight = [&]<typename Number>(int64_t i) {
    return Exp((Load<Number>(products + i) + Load<Number>(bias + i) - top) * inverse_temperature);
  };
  // Finds the sixteen codes that reach the aim, then the code among them.
  const float aim = std::max(uniform, kLeastUniform) * Sum<Vector>(codes, weight);
  float sum = 0;
  int64_t first = 0;
  for (; first + kLanes < codes; first += kLanes) {
    const float next = sum + Total(weight.template operator()<Vector>(first));
    if (next >= aim) break;
    sum = next;
  }
  const int64_t end = std::min(first + kLanes, codes);
  const int64_t found = LastThatRaises(first, end, sum, aim, weight);
  if (found >= 0) return found;
  // Logits that are not finite may leave no code: it is then any, and the surprise tells.
  return std::max(LastThatRaises(0, end, 0.0f, aim, weight), int64_t{0});
}

// Defines one function for each kernel and instruction set, and their table. Attributes cannot be
// in parentheses. NOLINTBEGIN(bugprone-macro-parentheses)
#define GENIE_ENV_TRANSFORMER_KERNELS(Name, ATTRIBUTE, Vector, text)                               \
  template <typename Element>                                                                      \
  struct Name {                                                                                    \
    ATTRIBUTE static void Norm(const NormBlock<Element>& b) { NormRows<Vector>(b); }               \
    ATTRIBUTE static void Heads(const HeadsBlock<Element>& b) { HeadsRows<Vector>(b); }            \
    ATTRIBUTE static void Time(const TimeBlock<Element>& b) { TimeRows<Vector>(b); }               \
    ATTRIBUTE static void Neighbours(const NeighboursBlock& b) { NeighboursRows<Vector>(b); }      \
    ATTRIBUTE static void Softmax(int64_t positions, int64_t columns, int64_t stride, float scale, \
                                  float* scores, Element* out) {                                   \
      SoftmaxRows<Vector>(positions, columns, stride, scale, scores, out);                         \
    }                                                                                              \
    ATTRIBUTE static void Add(int64_t positions, int64_t columns, const float* products,           \
                              int64_t product_stride, const float* bias, float* x,                 \
                              int64_t x_stride) {                                                  \
      AddRows<Vector>(positions, columns, products, product_stride, bias, x, x_stride);            \
    }                                                                                              \
    ATTRIBUTE static void Gelu(int64_t positions, int64_t columns, const float* products,          \
                               int64_t product_stride, const float* bias, Element* out,            \
                               int64_t out_stride) {                                               \
      GeluRows<Vector>(positions, columns, products, product_stride, bias, out, out_stride);       \
    }                                                                                              \
    ATTRIBUTE static void Convert(int64_t positions, int64_t columns, const float* in,             \
                                  int64_t in_stride, Element* out, int64_t out_stride) {           \
      ConvertRows<Vector>(positions, columns, in, in_stride, out, out_stride);                     \
    }                                                                                              \
    ATTRIBUTE static Categorical Describe(int64_t codes, const float* products,                    \
                                          const float* bias) {                                     \
      return DescribeRow<Vector>(codes, products, bias);                                           \
    }                                                                                              \
    ATTRIBUTE static int64_t Sample(int64_t codes, const float* products, const float* bias,       \
                                    float top, float inverse, float uniform) {                     \
      return SampleRow<Vector>(codes, products, bias, top, inverse, uniform);                      \
    }                                                                                              \
    static constexpr TransformerKernels<Element> kTable{                                           \
        text, Norm, Heads, Time, Neighbours, Softmax, Add, Gelu, Convert, Describe, Sample};       \
  };
// NOLINTEND(bugprone-macro-parentheses)

GENIE_ENV_TRANSFORMER_KERNELS(Baseline, , Lanes, "baseline")
#if defined(__x86_64__)
GENIE_ENV_TRANSFORMER_KERNELS(Avx2, GENIE_ENV_AVX2, SplitLanes, "avx2")
GENIE_ENV_TRANSFORMER_KERNELS(Avx512, GENIE_ENV_AVX512, Lanes, "avx512")
#endif

}  // namespace

template <typename Element>
std::vector<TransformerKernels<Element>> SupportedTransformerKernels() {
  return Supported<TransformerKernels<Element>>({
    {InstructionSet::kBaseline, Baseline<Element>::kTable},
#if defined(__x86_64__)
        {InstructionSet::kAvx2, Avx2<Element>::kTable},
        {InstructionSet::kAvx512, Avx512<Element>::kTable},
#endif
  });
}

template std::vector<TransformerKernels<float>> SupportedTransformerKernels<float>();
template std::vector<TransformerKernels<uint16_t>> SupportedTransformerKernels<uint16_t>();

}  // namespace genie_env
