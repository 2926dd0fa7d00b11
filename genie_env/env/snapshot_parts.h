#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "genie_env/env/episode_tracker.h"
#include "genie_env/env/snapshot.h"
#include "genie_env/worlds/world.h"

namespace genie_env {

struct Snapshot::Parts {
  std::string world;
  std::string fingerprint;
  WorldState state;        ///< of R rows, in any order of its fields
  EpisodeTracker tracker;  ///< all of whose rows have begun
  at::Tensor temperature;  ///< float32 [R], on the CPU
};

/// The snapshot's state as `world` can take it: its fields, in the order of `like`, a state of that
/// world. Throws std::invalid_argument where it is another world's, or does not fit.
WorldState StateFor(const World& world, const WorldState& like, const Snapshot& snapshot);

}  // namespace genie_env
