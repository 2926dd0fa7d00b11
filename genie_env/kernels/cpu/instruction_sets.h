#pragma once

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

// Each kernel is written once, as an always-inlined body, and compiled into one function for each
// instruction set: there is no -march for the whole library, which must run on any processor.

#if defined(__x86_64__)
#define GENIE_ENV_AVX2 __attribute__((target("avx2,fma")))
#if defined(__clang__)
#define GENIE_ENV_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#else
#define GENIE_ENV_AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")))
#endif
#endif

namespace genie_env {

enum class InstructionSet : uint8_t { kBaseline, kAvx2, kAvx512 };

/// The largest instruction set that this CPU can run, and that the environment variable of LibTorch
/// allows: with ATEN_CPU_CAPABILITY=avx2 (or =default), a large processor runs what a small one
/// does.
inline InstructionSet BestInstructionSet() {
  const char* variable = std::getenv("ATEN_CPU_CAPABILITY");
  const std::string_view allowed = variable == nullptr ? "" : variable;
  if (allowed == "default") return InstructionSet::kBaseline;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return avx512 && allowed != "avx2" ? InstructionSet::kAvx512 : InstructionSet::kAvx2;
  }
#endif
  return InstructionSet::kBaseline;
}

/// Whether the processor has AMX for bfloat16. (The operating system may still forbid it.)
inline bool HasAmxBf16() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;  // __builtin_cpu_supports knows no AMX in older compilers
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 22 & 1) != 0 && (d >> 24 & 1) != 0;
#else
  return false;
#endif
}

/// The kernels that may run here, of those compiled for each instruction set, in their order.
template <typename Kernels>
std::vector<Kernels> Supported(std::initializer_list<std::pair<InstructionSet, Kernels>> compiled) {
  std::vector<Kernels> supported;
  for (const auto& [set, kernels] : compiled) {
    if (set <= BestInstructionSet()) supported.push_back(kernels);
  }
  return supported;
}

}  // namespace genie_env
