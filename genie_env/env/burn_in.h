#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "genie_env/worlds/world.h"

namespace genie_env {

/// Dreams that have begun at the first of T given frames and followed the others: frames uint8
/// [R, T, H, W, 3], actions [R, T - 1, *spec]. `rng` says how the rows begin, and then where they
/// stand. `between_frames` is called before each frame but the first, and may throw.
WorldState BurnIn(const World& world, const at::Tensor& frames, const at::Tensor& actions,
                  RowCounters& rng, const std::function<void()>& between_frames);

}  // namespace genie_env
