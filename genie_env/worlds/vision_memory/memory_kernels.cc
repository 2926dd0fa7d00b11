#include "genie_env/worlds/vision_memory/memory_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "genie_env/core/random.h"
#include "genie_env/kernels/cpu/float_math.h"
#include "genie_env/kernels/cpu/instruction_sets.h"
#include "genie_env/worlds/vision_memory/panel_lanes.h"

namespace genie_env {
namespace {

/// exp(-x), with x clamped so that the product of three of them is finite. At the bounds, 1 + e and
/// 1 - e are rounded to their limits already.
GENIE_ENV_INLINE float ExpOfNegative(float x) {
  x = x < -28.0f ? -28.0f : x;
  x = x > 28.0f ? 28.0f : x;
  return Exp(-x);
}

template <bool kWhole, typename Element>
GENIE_ENV_INLINE void GateRows(const GateBlock<Element>& block) {
  const int64_t lanes = Lanes<kWhole>(block.units);
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

/// Inverse distribution function: the first component at which the sum of the weights reaches
/// `uniform` of their total, and within it the noise.
template <bool kWhole>
GENIE_ENV_INLINE void SampleRow(const MixtureBlock& block, const float* logits, const float* top,
                                int64_t row) {
  const int64_t lanes = Lanes<kWhole>(block.dimensions);
  const float* parts = block.products + row * block.components * 3 * kPanel;
  const float* uniform = block.uniform + row * block.stride;
  const float* normal = block.normal + row * block.stride;
  const float inverse_temperature = 1.0f / block.temperature[row];
  const float noise_scale = std::sqrt(block.temperature[row]);
  float sums[kMaxComponents * kPanel];
  float total[kPanel] = {}, mean[kPanel], log_std[kPanel];
  for (int64_t k = 0; k < block.components; ++k) {
    for (int64_t j = 0; j < lanes; ++j) {
      total[j] += Exp((logits[k * kPanel + j] - top[j]) * inverse_temperature);
      sums[k * kPanel + j] = total[j];
    }
  }
  for (int64_t j = 0; j < lanes; ++j) {
    // Above 0, so that a component without weight, which adds nothing, does not reach it.
    total[j] *= uniform[j] < kLeastUniform ? kLeastUniform : uniform[j];
    mean[j] = parts[kPanel + j] + block.bias[kPanel + j];
    log_std[j] = parts[2 * kPanel + j] + block.bias[2 * kPanel + j];
  }
  for (int64_t k = 1; k < block.components; ++k) {
    const float* part = parts + k * 3 * kPanel;
    const float* bias = block.bias + k * 3 * kPanel;
    for (int64_t j = 0; j < lanes; ++j) {
      const bool beyond = sums[(k - 1) * kPanel + j] < total[j];
      const float next_mean = part[kPanel + j] + bias[kPanel + j];
      const float next_log_std = part[2 * kPanel + j] + bias[2 * kPanel + j];
      mean[j] = beyond ? next_mean : mean[j];
      log_std[j] = beyond ? next_log_std : log_std[j];
    }
  }
  float* z = block.z + row * block.stride;
  for (int64_t j = 0; j < lanes; ++j) {
    z[j] = mean[j] + Exp(log_std[j]) * noise_scale * normal[j];
  }
  CopyRow(z, lanes, block.z_out, row);
}

template <bool kSample, bool kWhole>
GENIE_ENV_INLINE void MixtureRows(const MixtureBlock& block) {
  const int64_t lanes = Lanes<kWhole>(block.dimensions);
  for (int64_t row = 0; row < block.rows; ++row) {
    const float* parts = block.products + row * block.components * 3 * kPanel;
    float logits[kMaxComponents * kPanel];
    float top[kPanel] = {};
    for (int64_t k = 0; k < block.components; ++k) {
      for (int64_t j = 0; j < lanes; ++j) {
        const float logit = parts[k * 3 * kPanel + j] + block.bias[k * 3 * kPanel + j];
        logits[k * kPanel + j] = logit;
        top[j] = k == 0 || top[j] < logit ? logit : top[j];
      }
    }
    if constexpr (kSample) SampleRow<kWhole>(block, logits, top, row);

    // -log p(z) = log(sum exp(logit)) - log(sum exp(logit - log_std - d^2 / 2)) + log(2 pi) / 2
    const float* z = block.z + row * block.stride;
    float joint[kMaxComponents * kPanel];
    float prior[kPanel] = {}, joint_top[kPanel] = {}, posterior[kPanel] = {};
    for (int64_t k = 0; k < block.components; ++k) {
      const float* part = parts + k * 3 * kPanel;
      const float* bias = block.bias + k * 3 * kPanel;
      for (int64_t j = 0; j < lanes; ++j) {
        const float logit = logits[k * kPanel + j];
        const float log_std = part[2 * kPanel + j] + bias[2 * kPanel + j];
        const float deviation = (z[j] - (part[kPanel + j] + bias[kPanel + j])) * Exp(-log_std);
        const float term = logit - log_std - 0.5f * deviation * deviation;
        prior[j] += Exp(logit - top[j]);
        joint[k * kPanel + j] = term;
        joint_top[j] = k == 0 || joint_top[j] < term ? term : joint_top[j];
      }
    }
    for (int64_t k = 0; k < block.components; ++k) {
      for (int64_t j = 0; j < lanes; ++j) {
        posterior[j] += Exp(joint[k * kPanel + j] - joint_top[j]);
      }
    }
    for (int64_t j = 0; j < lanes; ++j) {
      prior[j] = Log(prior[j]) - Log(posterior[j]) + (top[j] - joint_top[j]) + kHalfLogTwoPi;
    }
    float surprise = 0;
    for (int64_t j = 0; j < lanes; ++j) surprise += prior[j];
    block.surprise[row * block.surprise_stride] = surprise;
  }
}

template <bool kSample>
GENIE_ENV_INLINE void Mixture(const MixtureBlock& block) {
  if (block.dimensions == kPanel) {
    MixtureRows<kSample, true>(block);
  } else {
    MixtureRows<kSample, false>(block);
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
#define GENIE_ENV_MEMORY_KERNELS(Name, ATTRIBUTE, text)                                        \
  struct Name {                                                                                \
    ATTRIBUTE static void Gates(const GateBlock<float>& b) { genie_env::Gates(b); }            \
    ATTRIBUTE static void GatesBf16(const GateBlock<uint16_t>& b) { genie_env::Gates(b); }     \
    ATTRIBUTE static void Sample(const MixtureBlock& b) { Mixture<true>(b); }                  \
    ATTRIBUTE static void Score(const MixtureBlock& b) { Mixture<false>(b); }                  \
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

GENIE_ENV_MEMORY_KERNELS(Baseline, , "baseline")
#if defined(__x86_64__)
GENIE_ENV_MEMORY_KERNELS(Avx2, GENIE_ENV_AVX2, "avx2")
GENIE_ENV_MEMORY_KERNELS(Avx512, GENIE_ENV_AVX512, "avx512")
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
