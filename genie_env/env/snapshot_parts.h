#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <span>
#include <string>

#include "genie_env/env/episode_tracker.h"
#include "genie_env/env/snapshot.h"
#include "genie_env/worlds/world.h"

namespace genie_env {

struct Snapshot::Parts {
  std::string world;
  std::string fingerprint;
  /// What the world was loaded with, as far as its next step depends on it. An older file holds
  /// neither, and is not restored.
  std::string dtype;
  std::map<std::string, std::string> options;  ///< see TextsOf
  std::string starts = {};                     ///< hash of the StartBank; empty: there was none
  WorldState state;                            ///< of R rows, in any order of its fields
  EpisodeTracker tracker;                      ///< all of whose rows have begun
  at::Tensor temperature;                      ///< float32 [R], on the CPU
};

/// The values in force as text, to the last bit, by the names of the options.
std::map<std::string, std::string> TextsOf(std::span<const Option> options);

/// The snapshot's state as `world` can take it: its fields, in the order of `like`, a state of that
/// world. Throws std::invalid_argument where it was taken in another world, or in another dtype or
/// with other options, or does not fit.
WorldState StateFor(const World& world, const WorldState& like, const Snapshot& snapshot);

}  // namespace genie_env
