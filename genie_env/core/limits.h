#pragma once

#include <cstdint>

namespace genie_env {

// The largest sizes of V and M. Training refuses what a frozen world could not be loaded with.

inline constexpr int64_t kMostLatents = 4096;
inline constexpr int64_t kMostHidden = 65536;
inline constexpr int64_t kMostComponents = 32;

}  // namespace genie_env
