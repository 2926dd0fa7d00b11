#pragma once

#include <cstdint>
#include <vector>

namespace genie_env {

/// GELU in its tanh form, and its gradient, on the CPU: the kernels of one instruction set. All are
/// pure and thread-safe.
struct GeluKernels {
  const char* instruction_set;
  /// out = gelu(x)
  void (*gelu)(int64_t size, const float* x, float* out);
  /// out = gradient * gelu'(x)
  void (*gradient)(int64_t size, const float* x, const float* gradient, float* out);
};

/// The kernels that this CPU can run, the fastest last; there is at least one.
std::vector<GeluKernels> SupportedGeluKernels();

}  // namespace genie_env
