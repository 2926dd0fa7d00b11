#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "genie_env/core/spec.h"
#include "genie_env/models/vision_memory/sizes.h"
#include "genie_env/worlds/outcome_config.h"

namespace genie_env {

/// What config.json says of a world of the vision-memory family, beside its name.
struct VisionMemoryConfig {
  int64_t latents = 0;                              ///< "sizes"
  int64_t height = 0, width = 0;                    ///< "frame"
  bool rectified_features = false;                  ///< "decoder_features"; without it, linear
  int64_t hidden = 0;                               ///< "sizes"
  int64_t components = 0;                           ///< "sizes"
  MixtureKind mixture = MixtureKind::kIndependent;  ///< "mixture"; without it, independent
  ActionSpec actions;
  /// What M reads of each numbered action, in [-1, 1], in formats 1 and 2; empty: one-hot.
  std::vector<float> action_inputs;
  int64_t frame_skip = 0;
  int64_t max_episode_steps = 0;
  double temperature = 0;
  OutcomeConfig outcome;
};

/// `text` is the JSON of `file`. Throws FormatError naming the file and the field that is missing,
/// of another type or out of range; other fields (how the world was trained) are ignored.
VisionMemoryConfig ParseVisionMemoryConfig(const std::string& text, const std::string& file);

}  // namespace genie_env
