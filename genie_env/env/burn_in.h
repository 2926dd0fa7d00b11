#pragma once

#include <ATen/core/Tensor.h>

#include "genie_env/worlds/world.h"

namespace genie_env {

/// Dreams that have begun at the first of T given frames and followed the others: frames uint8
/// [R, T, H, W, 3], actions int64 [R, T - 1]. `rng` says how the rows begin, and then where they
/// stand.
WorldState BurnIn(const World& world, const at::Tensor& frames, const at::Tensor& actions,
                  RowCounters& rng);

}  // namespace genie_env
