#pragma once

#include <cstdint>
#include <cstring>

#include "genie_env/kernels/cpu/lanes.h"
#include "genie_env/worlds/vision_memory/memory_kernels.h"

// What the kernels of M have in common. Included by them alone, which have flags of their own.

namespace genie_env {

inline constexpr float kHalfLogTwoPi = 0.918938533f;

/// The lanes of a panel that are computed. In a whole panel, the compiler knows their number.
template <bool kWhole>
GENIE_ENV_INLINE int64_t LanesOf(int64_t present) {
  return kWhole ? kPanel : present;
}

/// A panel's numbers, of which `present` are there, and zeros.
template <typename Vector>
GENIE_ENV_INLINE Vector LoadPart(const float* from, int64_t present) {
  if (present == kPanel) return Load<Vector>(from);
  float padded[kPanel] = {};
  std::memcpy(padded, from, present * sizeof(float));
  return Load<Vector>(padded);
}

template <typename Vector>
GENIE_ENV_INLINE void StorePart(Vector x, float* to, int64_t present) {
  if (present == kPanel) return Store(x, to);
  float padded[kPanel];
  Store(x, padded);
  std::memcpy(to, padded, present * sizeof(float));
}

GENIE_ENV_INLINE void CopyRow(const float* values, int64_t size, const StridedRows& to,
                              int64_t row) {
  if (to.first != nullptr) std::memcpy(to.first + row * to.stride, values, size * sizeof(float));
}

}  // namespace genie_env
