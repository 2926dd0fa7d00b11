#include "genie_env/kernels/cpu/gelu_kernels.h"

#include "genie_env/kernels/cpu/gelu.h"
#include "genie_env/kernels/cpu/instruction_sets.h"
#include "genie_env/kernels/cpu/lanes.h"

namespace genie_env {
namespace {

template <typename Vector>
GENIE_ENV_INLINE void GeluOf(int64_t size, const float* x, float* out) {
  ForEachLanes<Vector>(size, [&]<typename Number>(int64_t i) {
    const auto number = Load<Number>(x + i);
    Store(number * GeluShare(number), out + i);
  });
}

template <typename Vector>
GENIE_ENV_INLINE void GradientOf(int64_t size, const float* x, const float* gradient, float* out) {
  ForEachLanes<Vector>(size, [&]<typename Number>(int64_t i) {
    Store(Load<Number>(gradient + i) * GeluSlope(Load<Number>(x + i)), out + i);
  });
}

// Attributes cannot be in parentheses. NOLINTBEGIN(bugprone-macro-parentheses)
#define GENIE_ENV_GELU_KERNELS(Name, ATTRIBUTE, Vector, text)                                  \
  struct Name {                                                                                \
    ATTRIBUTE static void Gelu(int64_t size, const float* x, float* out) {                     \
      GeluOf<Vector>(size, x, out);                                                            \
    }                                                                                          \
    ATTRIBUTE static void Gradient(int64_t size, const float* x, const float* g, float* out) { \
      GradientOf<Vector>(size, x, g, out);                                                     \
    }                                                                                          \
    static constexpr GeluKernels kTable{text, Gelu, Gradient};                                 \
  };
// NOLINTEND(bugprone-macro-parentheses)

GENIE_ENV_GELU_KERNELS(Baseline, , Lanes, "baseline")
#if defined(__x86_64__)
GENIE_ENV_GELU_KERNELS(Avx2, GENIE_ENV_AVX2, SplitLanes, "avx2")
GENIE_ENV_GELU_KERNELS(Avx512, GENIE_ENV_AVX512, Lanes, "avx512")
#endif

}  // namespace

std::vector<GeluKernels> SupportedGeluKernels() {
  return Supported<GeluKernels>({
    {InstructionSet::kBaseline, Baseline::kTable},
#if defined(__x86_64__)
        {InstructionSet::kAvx2, Avx2::kTable}, {InstructionSet::kAvx512, Avx512::kTable},
#endif
  });
}

}  // namespace genie_env
