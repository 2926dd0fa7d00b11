#pragma once

#include "genie_env/env/vec_env.h"

namespace genie_env {

/// `options` with every default filled in. Throws std::invalid_argument on what cannot be.
VecEnvOptions ResolveOptions(VecEnvOptions options, const World* world);

}  // namespace genie_env
