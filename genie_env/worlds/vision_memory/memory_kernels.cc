#include "genie_env/worlds/vision_memory/memory_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "genie_env/core/random.h"
#include "genie_env/kernels/cpu/float_math.h"
#include "genie_env/kernels/cpu/instruction_sets.h"
#include "genie_env/kernels/cpu/lanes.h"
#include "genie_env/worlds/vision_memory/panel_lanes.h"

namespace genie_env {
namespace {

/// exp(-x), with x clamped so that the product of three of them is finite. At the bounds, 1 + e and
/// 1 - e are rounded to their limits already.
GENIE_ENV_INLINE float ExpOfNegative(float x) {
  x = x < -28.0f ? -28.0f : x;
  x = x > 28.0f ? 28.0f : x;
  return ExpWithinRange<float, uint32_t>(-x);
}

template <bool kWhole, typename Element>
GENIE_ENV_INLINE void GateRows(const GateBlock<Element>& block) {
  const int64_t lanes = LanesOf<kWhole>(block.units);
  for (int64_t row = 0; row < block.rows; ++row) {
    const float* gates = block.products + row * 4 * kPanel;
    const float* bias = block.bias + block.context[row] * 4 * kPanel;
    float* c = block.c + row * block.stride;
    float cell[kPanel], hidden[kPanel];
    for (int64_t j = 0; j < lanes; ++j) {
      // With e = exp(-x), sigmoid(x) = 1 / (1 + e), and tanh(x) = (1 - e^2) / (1 + e^2). Both sums
      // are written as one fraction, because divisions take most of the time.
      const float input = 1.0f + ExpOfNegative(gates[j] + bias[j]);
      const float forget = 1.0f + ExpOfNegative(gates[kPanel + j] + bias[kPanel + j]);
      const float candidate = ExpOfNegative(2.0f * (gates[2 * kPanel + j] + bias[2 * kPanel + j]));
      const float output = 1.0f + ExpOfNegative(gates[3 * kPanel + j] + bias[3 * kPanel + j]);
      const float input_candidate = input * (1.0f + candidate);
      cell[j] = (c[j] * input_candidate + (1.0f - candidate) * forget) / (forget * input_candidate);
      const float squashed = ExpOfNegative(2.0f * cell[j]);
      hidden[j] = (1.0f - squashed) / (output * (1.0f + squashed));
    }
    std::memcpy(c, cell, lanes * sizeof(float));
    std::memcpy(block.h + row * block.stride, hidden, lanes * sizeof(float));
    CopyRow(cell, lanes, block.c_out, row);
    CopyRow(hidden, lanes, block.h_out, row);
    Element* product_input = block.product_input + row * block.product_stride;
    for (int64_t j = 0; j < lanes; ++j) {
      if constexpr (std::is_same_v<Element, float>) {
        product_input[j] = hidden[j];
      } else {
        product_input[j] = ToBf16(hidden[j]);
      }
    }
  }
}

template <typename Element>
GENIE_ENV_INLINE void Gates(const GateBlock<Element>& block) {
  if (block.units == kPanel) {
    GateRows<true>(block);
  } else {
    GateRows<false>(block);
  }
}

/// What a row of a mixture is in one panel.
template <typename Vector>
struct MixtureRow {
  const float *parts, *bias;

  GENIE_ENV_INLINE Vector Part(int64_t k, int64_t part) const {
    const int64_t at = (3 * k + part) * kPanel;
    return Load<Vector>(parts + at) + Load<Vector>(bias + at);
  }
  GENIE_ENV_INLINE Vector Logit(int64_t k) const { return Part(k, 0); }
  GENIE_ENV_INLINE Vector Mean(int64_t k) const { return Part(k, 1); }
  GENIE_ENV_INLINE Vector LogStd(int64_t k) const { return Part(k, 2); }
};

/// Inverse distribution function: the first component at which the sum of the weights reaches
/// `uniform` of their total, and within it the noise.
template <typename Vector>
GENIE_ENV_INLINE Vector Sample(const MixtureRow<Vector>& mixture, int64_t components, Vector top,
                               Vector uniform, Vector normal, float temperature) {
  const float inverse_temperature = 1.0f / temperature;
  Vector sums[kMaxComponents];
  Vector total{};
  for (int64_t k = 0; k < components; ++k) {
    total += Exp((mixture.Logit(k) - top) * inverse_temperature);
    sums[k] = total;
  }
  // Above 0, so that a component without weight, which adds nothing, does not reach it.
  const Vector aim = total * Max(uniform, Vector{} + kLeastUniform);
  Vector mean = mixture.Mean(0), log_std = mixture.LogStd(0);
  for (int64_t k = 1; k < components; ++k) {
    mean = Select(sums[k - 1], aim, mixture.Mean(k), mean);
    log_std = Select(sums[k - 1], aim, mixture.LogStd(k), log_std);
  }
  return mean + Exp(log_std) * std::sqrt(temperature) * normal;
}

/// -log p(z) = log(sum exp(logit)) - log(sum exp(logit - log_std - d^2 / 2)) + log(2 pi) / 2
template <typename Vector>
GENIE_ENV_INLINE float Score(const MixtureRow<Vector>& mixture, int64_t components, Vector top,
                             Vector z, int64_t present) {
  Vector joint[kMaxComponents];
  Vector prior{}, joint_top{}, posterior{};
  for (int64_t k = 0; k < components; ++k) {
    const Vector logit = mixture.Logit(k), log_std = mixture.LogStd(k);
    const Vector deviation = (z - mixture.Mean(k)) * Exp(Vector{} - log_std);
    joint[k] = logit - log_std - 0.5f * deviation * deviation;
    prior += Exp(logit - top);
    joint_top = k == 0 ? joint[k] : Max(joint_top, joint[k]);
  }
  for (int64_t k = 0; k < components; ++k) posterior += Exp(joint[k] - joint_top);
  float priors[kPanel], posteriors[kPanel], tops[kPanel];
  Store(prior, priors);
  Store(posterior, posteriors);
  Store(top - joint_top, tops);
  for (int64_t j = 0; j < kPanel; ++j) {
    priors[j] = Log(priors[j]) - Log(posteriors[j]) + tops[j] + kHalfLogTwoPi;
  }
  // One after the other: the bits of recorded dreams are of this order.
  float surprise = 0;
  for (int64_t j = 0; j < present; ++j) surprise += priors[j];
  return surprise;
}

template <bool kSample, typename Vector>
GENIE_ENV_INLINE void MixtureRows(const MixtureBlock& block) {
  const int64_t present = block.dimensions;
  for (int64_t row = 0; row < block.rows; ++row) {
    const MixtureRow<Vector> mixture{block.products + row * block.components * 3 * kPanel,
                                     block.bias};
    Vector top = mixture.Logit(0);
    for (int64_t k = 1; k < block.components; ++k) top = Max(top, mixture.Logit(k));
    const int64_t at = row * block.stride;
    Vector z;
    if constexpr (kSample) {
      z = Sample(mixture, block.components, top, LoadPart<Vector>(block.uniform + at, present),
                 LoadPart<Vector>(block.normal + at, present), block.temperature[row]);
      StorePart(z, block.z + at, present);
      if (block.z_out.first != nullptr) {
        StorePart(z, block.z_out.first + row * block.z_out.stride, present);
      }
    } else {
      z = LoadPart<Vector>(block.z + at, present);
    }
    block.surprise[row * block.surprise_stride] = Score(mixture, block.components, top, z, present);
  }
}

GENIE_ENV_INLINE void DotRows(int64_t rows, int64_t size, const float* h, const float* weight,
                              float bias, float* out) {
  for (int64_t row = 0; row < rows; ++row, h += size) {
    float sums[kPanel] = {};
    int64_t i = 0;
    for (; i + kPanel <= size; i += kPanel) {
      for (int64_t j = 0; j < kPanel; ++j) sums[j] += h[i + j] * weight[i + j];
    }
    float sum = bias;
    for (; i < size; ++i) sum += h[i] * weight[i];
    for (int64_t j = 0; j < kPanel; ++j) sum += sums[j];
    out[row] = sum;
  }
}

GENIE_ENV_INLINE void RowToBf16(int64_t size, const float* in, uint16_t* out) {
  for (int64_t i = 0; i < size; ++i) out[i] = ToBf16(in[i]);
}

template <typename Element>
GENIE_ENV_INLINE void RectifyRows(int64_t rows, int64_t units, const float* products,
                                  const float* bias, Element* out) {
  for (int64_t row = 0; row < rows; ++row, products += units, out += units) {
    for (int64_t i = 0; i < units; ++i) {
      const float sum = products[i] + bias[i];
      const float rectified = sum > 0.0f ? sum : 0.0f * sum;  // what is not finite stays so
      if constexpr (std::is_same_v<Element, float>) {
        out[i] = rectified;
      } else {
        out[i] = ToBf16(rectified);
      }
    }
  }
}

GENIE_ENV_INLINE void ExpectRows(int64_t rows, int64_t bins, const float* products, int64_t stride,
                                 const float* bias, const float* values, float* mean) {
  for (int64_t row = 0; row < rows; ++row, products += stride) {
    float top = products[0] + bias[0];
    for (int64_t i = 1; i < bins; ++i) {
      const float logit = products[i] + bias[i];
      top = top < logit ? logit : top;
    }
    // Sums in lanes: the compiler must not reorder one sum.
    float total[kPanel] = {}, weighted[kPanel] = {};
    int64_t i = 0;
    for (; i + kPanel <= bins; i += kPanel) {
      for (int64_t j = 0; j < kPanel; ++j) {
        const float weight = Exp(products[i + j] + bias[i + j] - top);
        total[j] += weight;
        weighted[j] += weight * values[i + j];
      }
    }
    float sum = 0, weighted_sum = 0;
    for (; i < bins; ++i) {
      const float weight = Exp(products[i] + bias[i] - top);
      sum += weight;
      weighted_sum += weight * values[i];
    }
    for (int64_t j = 0; j < kPanel; ++j) {
      sum += total[j];
      weighted_sum += weighted[j];
    }
    mean[row] = weighted_sum / sum;
  }
}

// Defines one function for each kernel and instruction set, and their table. Attributes cannot be
// in parentheses. NOLINTBEGIN(bugprone-macro-parentheses)
#define GENIE_ENV_MEMORY_KERNELS(Name, ATTRIBUTE, Vector, text)                                \
  struct Name {                                                                                \
    ATTRIBUTE static void Gates(const GateBlock<float>& b) { genie_env::Gates(b); }            \
    ATTRIBUTE static void GatesBf16(const GateBlock<uint16_t>& b) { genie_env::Gates(b); }     \
    ATTRIBUTE static void Sample(const MixtureBlock& b) { MixtureRows<true, Vector>(b); }      \
    ATTRIBUTE static void Score(const MixtureBlock& b) { MixtureRows<false, Vector>(b); }      \
    ATTRIBUTE static void Dot(int64_t rows, int64_t size, const float* h, const float* weight, \
                              float bias, float* out) {                                        \
      DotRows(rows, size, h, weight, bias, out);                                               \
    }                                                                                          \
    ATTRIBUTE static void ToBf16(int64_t size, const float* in, uint16_t* out) {               \
      RowToBf16(size, in, out);                                                                \
    }                                                                                          \
    ATTRIBUTE static void Rectify(int64_t rows, int64_t units, const float* products,          \
                                  const float* bias, float* out) {                             \
      RectifyRows(rows, units, products, bias, out);                                           \
    }                                                                                          \
    ATTRIBUTE static void RectifyBf16(int64_t rows, int64_t units, const float* products,      \
                                      const float* bias, uint16_t* out) {                      \
      RectifyRows(rows, units, products, bias, out);                                           \
    }                                                                                          \
    ATTRIBUTE static void Expect(int64_t rows, int64_t bins, const float* products,            \
                                 int64_t stride, const float* bias, const float* values,       \
                                 float* mean) {                                                \
      ExpectRows(rows, bins, products, stride, bias, values, mean);                            \
    }                                                                                          \
    static constexpr MemoryKernels kTable{text, Gates,  GatesBf16, Sample,      Score,         \
                                          Dot,  ToBf16, Rectify,   RectifyBf16, Expect};       \
  };
// NOLINTEND(bugprone-macro-parentheses)

GENIE_ENV_MEMORY_KERNELS(Baseline, , Lanes, "baseline")
#if defined(__x86_64__)
GENIE_ENV_MEMORY_KERNELS(Avx2, GENIE_ENV_AVX2, SplitLanes, "avx2")
GENIE_ENV_MEMORY_KERNELS(Avx512, GENIE_ENV_AVX512, Lanes, "avx512")
#endif

}  // namespace

std::vector<MemoryKernels> SupportedMemoryKernels() {
  return Supported<MemoryKernels>({
    {InstructionSet::kBaseline, Baseline::kTable},
#if defined(__x86_64__)
        {InstructionSet::kAvx2, Avx2::kTable}, {InstructionSet::kAvx512, Avx512::kTable},
#endif
  });
}

}  // namespace genie_env
