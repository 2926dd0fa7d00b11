#include "genie_env/kernels/transformer_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "genie_env/core/limits.h"
#include "genie_env/kernels/float_math.h"
#include "genie_env/kernels/instruction_sets.h"

namespace genie_env {
namespace {

// Sums have this many running totals, so that they become vector code; their order is fixed.
constexpr int64_t kLanes = 16;
constexpr float kEpsilon = 1e-5f;
constexpr int64_t kMostHead = kMostWidth;

GENIE_ENV_INLINE float Load(float x) { return x; }
GENIE_ENV_INLINE float Load(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

GENIE_ENV_INLINE void Store(float x, float* out) { *out = x; }
GENIE_ENV_INLINE void Store(float x, uint16_t* out) { *out = ToBf16(x); }

GENIE_ENV_INLINE float Total(const float* lanes) {
  float halves[8], quarters[4];
  for (int64_t j = 0; j < 8; ++j) halves[j] = lanes[j] + lanes[j + 8];
  for (int64_t j = 0; j < 4; ++j) quarters[j] = halves[j] + halves[j + 4];
  return (quarters[0] + quarters[2]) + (quarters[1] + quarters[3]);
}

/// The sum of term(i) over 0 .. size - 1.
template <typename Term>
GENIE_ENV_INLINE float Sum(int64_t size, const Term& term) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) lanes[j] += term(i + j);
  }
  for (int64_t j = 0; i + j < size; ++j) lanes[j] += term(i + j);
  return Total(lanes);
}

/// The largest of value(i) over 0 .. size - 1.
template <typename Value>
GENIE_ENV_INLINE float Largest(int64_t size, const Value& value) {
  float lanes[kLanes];
  for (int64_t j = 0; j < kLanes; ++j) lanes[j] = value(j < size ? j : 0);
  int64_t i = kLanes;
  for (; i + kLanes <= size; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      const float x = value(i + j);
      lanes[j] = lanes[j] < x ? x : lanes[j];
    }
  }
  for (; i < size; ++i) {
    const float x = value(i);
    lanes[0] = lanes[0] < x ? x : lanes[0];
  }
  float top = lanes[0];
  for (int64_t j = 1; j < kLanes; ++j) top = top < lanes[j] ? lanes[j] : top;
  return top;
}

struct Moments {
  float mean, scale;  // scale: one over the standard deviation
};

GENIE_ENV_INLINE Moments MomentsOf(int64_t size, const float* x) {
  const float count = static_cast<float>(size);
  const float mean = Sum(size, [&](int64_t i) { return x[i]; }) / count;
  const float variance =
      Sum(size, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); }) / count;
  return {mean, 1.0f / std::sqrt(variance + kEpsilon)};
}

template <typename Element>
GENIE_ENV_INLINE void NormRows(const NormBlock<Element>& b) {
  for (int64_t s = 0; s < b.positions; ++s) {
    const float* x = b.x + s * b.width;
    Element* out = b.out + s * b.width;
    const Moments moments = MomentsOf(b.width, x);
    for (int64_t i = 0; i < b.width; ++i) {
      Store((x[i] - moments.mean) * moments.scale * b.gain[i], out + i);
    }
  }
}

// Numbers 2i and 2i + 1 turn as one complex number.
GENIE_ENV_INLINE void Turn(int64_t head, const float* cosines, const float* sines, float* x) {
  for (int64_t i = 0; i < head / 2; ++i) {
    // All of x is written; the analyzer forgets it. NOLINTNEXTLINE(clang-analyzer-core.*)
    const float even = x[2 * i], odd = x[2 * i + 1];
    x[2 * i] = even * cosines[i] - odd * sines[i];
    x[2 * i + 1] = even * sines[i] + odd * cosines[i];
  }
}

template <typename Element>
GENIE_ENV_INLINE void HeadsRows(const HeadsBlock<Element>& b) {
  const int64_t head = b.head, width = b.heads * head;
  for (int64_t s = 0; s < b.positions; ++s) {
    const float* products = b.products + s * b.product_stride;
    for (int64_t part = 0; part < 2; ++part) {
      Element* out = (part == 0 ? b.query : b.key) + s * width;
      for (int64_t first = 0; first < width; first += head) {
        const float* in = products + part * width + first;
        const float* bias = b.bias + part * width + first;
        float x[kMostHead];
        for (int64_t i = 0; i < head; ++i) x[i] = in[i] + bias[i];
        const Moments moments = MomentsOf(head, x);
        for (int64_t i = 0; i < head; ++i) x[i] = (x[i] - moments.mean) * moments.scale;
        if (part == 0) {
          for (int64_t i = 0; i < head; ++i) x[i] *= b.query_gain[i];
        }
        if (b.cosines != nullptr) Turn(head, b.cosines, b.sines, x);
        for (int64_t i = 0; i < head; ++i) Store(x[i], out + first + i);
      }
    }
    Element* value = b.value + s * width;
    for (int64_t i = 0; i < width; ++i) {
      Store(products[2 * width + i] + b.bias[2 * width + i], value + i);
    }
  }
}

template <typename Element>
GENIE_ENV_INLINE float Dot(int64_t size, const Element* a, const Element* b) {
  return Sum(size, [&](int64_t i) { return Load(a[i]) * Load(b[i]); });
}

template <typename Element>
GENIE_ENV_INLINE void TimeRows(const TimeBlock<Element>& b) {
  const int64_t width = b.heads * b.head;
  const float scale = 1.0f / std::sqrt(static_cast<float>(b.head));
  for (int64_t s = 0; s < b.positions; ++s) {
    const Element* keys = b.past_keys + b.place[s] * b.slots * width;
    const Element* values = b.past_values + b.place[s] * b.slots * width;
    for (int64_t first = 0; first < width; first += b.head) {
      const int64_t own = s * width + first;
      for (int64_t slot = 0; slot < b.seen; ++slot) {
        b.scores[slot] = scale * Dot(b.head, b.query + own, keys + slot * width + first);
      }
      b.scores[b.seen] = scale * Dot(b.head, b.query + own, b.key + own);
      const int64_t count = b.seen + 1;
      const float top = Largest(count, [&](int64_t i) { return b.scores[i]; });
      for (int64_t i = 0; i < count; ++i) b.scores[i] = Exp(b.scores[i] - top);
      const float inverse = 1.0f / Sum(count, [&](int64_t i) { return b.scores[i]; });
      float mixed[kMostHead];
      const float own_share = b.scores[b.seen] * inverse;
      for (int64_t i = 0; i < b.head; ++i) mixed[i] = own_share * Load(b.value[own + i]);
      for (int64_t slot = 0; slot < b.seen; ++slot) {
        const float share = b.scores[slot] * inverse;
        const Element* value = values + slot * width + first;
        for (int64_t i = 0; i < b.head; ++i) mixed[i] += share * Load(value[i]);
      }
      Element* out = b.out + own;
      for (int64_t i = 0; i < b.head; ++i) Store(mixed[i], out + i);
    }
  }
}

template <typename Element>
GENIE_ENV_INLINE void SoftmaxRows(int64_t positions, int64_t columns, int64_t stride, float scale,
                                  const float* scores, Element* out) {
  for (int64_t s = 0; s < positions; ++s, scores += stride, out += stride) {
    const float top = scale * Largest(columns, [&](int64_t i) { return scores[i]; });
    const float inverse =
        1.0f / Sum(columns, [&](int64_t i) { return Exp(scale * scores[i] - top); });
    for (int64_t i = 0; i < columns; ++i) {
      Store(Exp(scale * scores[i] - top) * inverse, out + i);
    }
    std::fill(out + columns, out + stride, Element{});
  }
}

GENIE_ENV_INLINE void AddRows(int64_t positions, int64_t columns, const float* products,
                              int64_t product_stride, const float* bias, float* x,
                              int64_t x_stride) {
  for (int64_t s = 0; s < positions; ++s, products += product_stride, x += x_stride) {
    for (int64_t i = 0; i < columns; ++i) x[i] += products[i] + bias[i];
  }
}

template <typename Element>
GENIE_ENV_INLINE void GeluRows(int64_t positions, int64_t columns, const float* products,
                               int64_t product_stride, const float* bias, Element* out,
                               int64_t out_stride) {
  // (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)), with u = sqrt(2 / pi) (x + 0.044715 x^3).
  constexpr float kLinear = -1.5957691216f, kCubic = -0.0713548163f;
  for (int64_t s = 0; s < positions; ++s, products += product_stride, out += out_stride) {
    for (int64_t i = 0; i < columns; ++i) {
      const float x = products[i] + bias[i];
      Store(x / (1.0f + Exp(x * (kLinear + kCubic * x * x))), out + i);
    }
  }
}

template <typename Element>
GENIE_ENV_INLINE void ConvertRows(int64_t positions, int64_t columns, const float* in,
                                  int64_t in_stride, Element* out, int64_t out_stride) {
  for (int64_t s = 0; s < positions; ++s, in += in_stride, out += out_stride) {
    for (int64_t i = 0; i < columns; ++i) Store(in[i], out + i);
  }
}

GENIE_ENV_INLINE Categorical DescribeRow(int64_t codes, const float* products, const float* bias) {
  const auto logit = [&](int64_t i) { return products[i] + bias[i]; };
  const float top = Largest(codes, logit);
  return {top, top + Log(Sum(codes, [&](int64_t i) { return Exp(logit(i) - top); }))};
}

GENIE_ENV_INLINE int64_t SampleRow(int64_t codes, const float* products, const float* bias,
                                   float top, float inverse_temperature, float uniform) {
  const auto weight = [&](int64_t i) {
    return Exp((products[i] + bias[i] - top) * inverse_temperature);
  };
  // Sixteen codes at a time, then one by one within those where it happens.
  const float aim = uniform * Sum(codes, weight);
  float sum = 0;
  int64_t first = 0;
  for (; first + kLanes < codes; first += kLanes) {
    const float next = sum + Sum(kLanes, [&](int64_t j) { return weight(first + j); });
    if (next >= aim) break;
    sum = next;
  }
  const int64_t last = std::min(first + kLanes, codes) - 1;
  for (int64_t i = first; i < last; ++i) {
    sum += weight(i);
    if (sum >= aim) return i;
  }
  return last;
}

// One function for each kernel and instruction set, and the table of them. Attributes cannot stand
// in parentheses. NOLINTBEGIN(bugprone-macro-parentheses)
#define GENIE_ENV_TRANSFORMER_KERNELS(Name, ATTRIBUTE, text)                                       \
  template <typename Element>                                                                      \
  struct Name {                                                                                    \
    ATTRIBUTE static void Norm(const NormBlock<Element>& b) { NormRows(b); }                       \
    ATTRIBUTE static void Heads(const HeadsBlock<Element>& b) { HeadsRows(b); }                    \
    ATTRIBUTE static void Time(const TimeBlock<Element>& b) { TimeRows(b); }                       \
    ATTRIBUTE static void Softmax(int64_t positions, int64_t columns, int64_t stride, float scale, \
                                  const float* scores, Element* out) {                             \
      SoftmaxRows(positions, columns, stride, scale, scores, out);                                 \
    }                                                                                              \
    ATTRIBUTE static void Add(int64_t positions, int64_t columns, const float* products,           \
                              int64_t product_stride, const float* bias, float* x,                 \
                              int64_t x_stride) {                                                  \
      AddRows(positions, columns, products, product_stride, bias, x, x_stride);                    \
    }                                                                                              \
    ATTRIBUTE static void Gelu(int64_t positions, int64_t columns, const float* products,          \
                               int64_t product_stride, const float* bias, Element* out,            \
                               int64_t out_stride) {                                               \
      GeluRows(positions, columns, products, product_stride, bias, out, out_stride);               \
    }                                                                                              \
    ATTRIBUTE static void Convert(int64_t positions, int64_t columns, const float* in,             \
                                  int64_t in_stride, Element* out, int64_t out_stride) {           \
      ConvertRows(positions, columns, in, in_stride, out, out_stride);                             \
    }                                                                                              \
    ATTRIBUTE static Categorical Describe(int64_t codes, const float* products,                    \
                                          const float* bias) {                                     \
      return DescribeRow(codes, products, bias);                                                   \
    }                                                                                              \
    ATTRIBUTE static int64_t Sample(int64_t codes, const float* products, const float* bias,       \
                                    float top, float inverse, float uniform) {                     \
      return SampleRow(codes, products, bias, top, inverse, uniform);                              \
    }                                                                                              \
    static constexpr TransformerKernels<Element> kTable{text, Norm, Heads,   Time,     Softmax,    \
                                                        Add,  Gelu, Convert, Describe, Sample};    \
  };
// NOLINTEND(bugprone-macro-parentheses)

GENIE_ENV_TRANSFORMER_KERNELS(Baseline, , "baseline")
#if defined(__x86_64__)
GENIE_ENV_TRANSFORMER_KERNELS(Avx2, GENIE_ENV_AVX2, "avx2")
GENIE_ENV_TRANSFORMER_KERNELS(Avx512, GENIE_ENV_AVX512, "avx512")
#endif

}  // namespace

template <typename Element>
std::vector<TransformerKernels<Element>> SupportedTransformerKernels() {
  std::vector<TransformerKernels<Element>> supported{Baseline<Element>::kTable};
#if defined(__x86_64__)
  const InstructionSet best = BestInstructionSet();
  if (best >= InstructionSet::kAvx2) supported.push_back(Avx2<Element>::kTable);
  if (best >= InstructionSet::kAvx512) supported.push_back(Avx512<Element>::kTable);
#endif
  return supported;
}

template std::vector<TransformerKernels<float>> SupportedTransformerKernels<float>();
template std::vector<TransformerKernels<uint16_t>> SupportedTransformerKernels<uint16_t>();

}  // namespace genie_env
