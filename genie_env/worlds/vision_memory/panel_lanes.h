#pragma once

#include <cstdint>
#include <cstring>

#include "genie_env/kernels/cpu/float_math.h"
#include "genie_env/worlds/vision_memory/memory_kernels.h"

// What the kernels of M have in common. Included by them alone, which have flags of their own.

namespace genie_env {

inline constexpr float kHalfLogTwoPi = 0.918938533f;

/// The lanes of a panel that are computed. In a whole panel, the compiler knows their number.
template <bool kWhole>
GENIE_ENV_INLINE int64_t Lanes(int64_t present) {
  return kWhole ? kPanel : present;
}

GENIE_ENV_INLINE void CopyRow(const float* values, int64_t size, const StridedRows& to,
                              int64_t row) {
  if (to.first != nullptr) std::memcpy(to.first + row * to.stride, values, size * sizeof(float));
}

}  // namespace genie_env
