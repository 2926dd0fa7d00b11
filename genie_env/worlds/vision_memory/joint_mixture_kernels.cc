#include "genie_env/worlds/vision_memory/joint_mixture_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "genie_env/core/random.h"
#include "genie_env/kernels/cpu/float_math.h"
#include "genie_env/kernels/cpu/instruction_sets.h"
#include "genie_env/worlds/vision_memory/panel_lanes.h"

namespace genie_env {
namespace {

GENIE_ENV_INLINE void ChooseRows(const ChoiceBlock& block) {
  for (int64_t row = 0; row < block.rows; ++row) {
    const float* products = block.products + row * block.stride;
    float logits[kMaxComponents], weights[kMaxComponents];
    float top = products[0] + block.bias[0];
    for (int64_t k = 0; k < block.components; ++k) {
      logits[k] = products[k] + block.bias[k];
      top = top < logits[k] ? logits[k] : top;
    }
    for (int64_t k = 0; k < block.components; ++k) weights[k] = Exp(logits[k] - top);
    float total = 0;
    for (int64_t k = 0; k < block.components; ++k) total += weights[k];
    const float log_total = top + Log(total);
    float* log_weights = block.log_weights + row * block.part_stride;
    for (int64_t k = 0; k < block.components; ++k) log_weights[k] = logits[k] - log_total;
    if (block.temperature == nullptr) continue;

    const float inverse_temperature = 1.0f / block.temperature[row];
    for (int64_t k = 0; k < block.components; ++k) {
      weights[k] = Exp((logits[k] - top) * inverse_temperature);
    }
    for (int64_t k = 1; k < block.components; ++k) weights[k] += weights[k - 1];
    // Above 0, so that a component without weight, which adds nothing, does not reach it.
    const float uniform = block.uniform[row];
    const float aim =
        weights[block.components - 1] * (uniform < kLeastUniform ? kLeastUniform : uniform);
    int32_t component = 0;
    for (int64_t k = 0; k + 1 < block.components; ++k) component += weights[k] < aim ? 1 : 0;
    block.component[row] = component;
  }
}

GENIE_ENV_INLINE float SumOfPanel(float* lanes) {
#pragma GCC unroll 4
  for (int64_t width = kPanel / 2; width > 0; width /= 2) {
    for (int64_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  }
  return lanes[0];
}

template <bool kSample, bool kWhole>
GENIE_ENV_INLINE void JointRows(const JointMixtureBlock& block) {
  const int64_t lanes = LanesOf<kWhole>(block.dimensions);
  for (int64_t row = 0; row < block.rows; ++row) {
    const float* products = block.products + row * block.components * 2 * kPanel;
    float z[kPanel];
    if constexpr (kSample) {
      const int64_t drawn = int64_t{block.component[row]} * 2 * kPanel;
      const float *part = products + drawn, *bias = block.bias + drawn;
      const float* normal = block.normal + row * block.stride;
      const float noise_scale = std::sqrt(block.temperature[row]);
      for (int64_t j = 0; j < lanes; ++j) {
        const float std = Exp(part[kPanel + j] + bias[kPanel + j]);
        z[j] = part[j] + bias[j] + std * noise_scale * normal[j];
      }
      std::memcpy(block.z + row * block.stride, z, lanes * sizeof(float));
      CopyRow(z, lanes, block.z_out, row);
    } else {
      std::memcpy(z, block.z + row * block.stride, lanes * sizeof(float));
    }
    float* parts = block.parts + row * block.part_stride;
    for (int64_t k = 0; k < block.components; ++k) {
      const float *part = products + k * 2 * kPanel, *bias = block.bias + k * 2 * kPanel;
      float terms[kPanel] = {};
      for (int64_t j = 0; j < lanes; ++j) {
        const float log_std = part[kPanel + j] + bias[kPanel + j];
        const float deviation = (z[j] - (part[j] + bias[j])) * Exp(-log_std);
        terms[j] = -log_std - 0.5f * deviation * deviation;
      }
      parts[k] = SumOfPanel(terms);
    }
  }
}

template <bool kSample>
GENIE_ENV_INLINE void Joint(const JointMixtureBlock& block) {
  if (block.dimensions == kPanel) {
    JointRows<kSample, true>(block);
  } else {
    JointRows<kSample, false>(block);
  }
}

GENIE_ENV_INLINE void SurpriseRows(int64_t rows, int64_t groups, int64_t components,
                                   int64_t latents, const float* parts, float* out) {
  for (int64_t row = 0; row < rows; ++row) {
    float sums[kMaxComponents] = {};
    for (int64_t group = 0; group < groups; ++group, parts += components) {
      for (int64_t k = 0; k < components; ++k) sums[k] += parts[k];
    }
    float top = sums[0];
    for (int64_t k = 1; k < components; ++k) top = top < sums[k] ? sums[k] : top;
    float total = 0;
    for (int64_t k = 0; k < components; ++k) total += Exp(sums[k] - top);
    out[row] = kHalfLogTwoPi - (top + Log(total)) / static_cast<float>(latents);
  }
}

// Defines one function for each kernel and instruction set, and their table. Attributes cannot be
// in parentheses. NOLINTBEGIN(bugprone-macro-parentheses)
#define GENIE_ENV_JOINT_MIXTURE_KERNELS(Name, ATTRIBUTE, text)                          \
  struct Name {                                                                         \
    ATTRIBUTE static void Choose(const ChoiceBlock& b) { ChooseRows(b); }               \
    ATTRIBUTE static void Sample(const JointMixtureBlock& b) { Joint<true>(b); }        \
    ATTRIBUTE static void Score(const JointMixtureBlock& b) { Joint<false>(b); }        \
    ATTRIBUTE static void Surprise(int64_t rows, int64_t groups, int64_t components,    \
                                   int64_t latents, const float* parts, float* out) {   \
      SurpriseRows(rows, groups, components, latents, parts, out);                      \
    }                                                                                   \
    static constexpr JointMixtureKernels kTable{text, Choose, Sample, Score, Surprise}; \
  };
// NOLINTEND(bugprone-macro-parentheses)

GENIE_ENV_JOINT_MIXTURE_KERNELS(Baseline, , "baseline")
#if defined(__x86_64__)
GENIE_ENV_JOINT_MIXTURE_KERNELS(Avx2, GENIE_ENV_AVX2, "avx2")
GENIE_ENV_JOINT_MIXTURE_KERNELS(Avx512, GENIE_ENV_AVX512, "avx512")
#endif

}  // namespace

std::vector<JointMixtureKernels> SupportedJointMixtureKernels() {
  return Supported<JointMixtureKernels>({
    {InstructionSet::kBaseline, Baseline::kTable},
#if defined(__x86_64__)
        {InstructionSet::kAvx2, Avx2::kTable}, {InstructionSet::kAvx512, Avx512::kTable},
#endif
  });
}

}  // namespace genie_env
