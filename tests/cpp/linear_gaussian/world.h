#pragma once

#include "genie_env/worlds/registry.h"

namespace genie_env {

/// A world of few numbers and no pictures, as a user might add one: x' = A x + B[action] + noise.
///
/// config.json: "dimension" D, "actions" (their meanings), "noise" (standard deviation), "limit"
/// (an episode ends where |x| exceeds it), "max_episode_steps". model.safetensors: "transition"
/// float32 [D, D], "pushes" float32 [actions, D]. starts.safetensors: "x" float32 [starts, D].
///
/// Observations: "x" [D] and "radius" [1]. Reward: -|x|. State of a row: "x" float32 [D]. Draws:
/// kStart, and one normal a dimension of FamilyStream(0). Its one option, "noise", replaces the
/// config's.
WorldFamily LinearGaussianFamily();

}  // namespace genie_env
