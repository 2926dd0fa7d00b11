#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace genie_env {

/// What config.json says of a world of the vision-memory family, beside its name.
struct VisionMemoryConfig {
  int64_t latents = 0;     ///< "sizes"
  int64_t hidden = 0;      ///< "sizes"
  int64_t components = 0;  ///< "sizes"
  std::vector<std::string> action_meanings;
  std::vector<float> action_inputs;  ///< what M sees of each action, in [-1, 1]
  int64_t frame_skip = 0;
  int64_t max_episode_steps = 0;
  float reward_per_step = 0;
  double temperature = 0;
  bool samples_termination = false;  ///< "termination": "sampled" or "thresholded"
};

/// `text` is the JSON of `file`. Throws FormatError naming the file and the field that is missing,
/// of another type or out of range; other fields (how the world was trained) are ignored.
VisionMemoryConfig ParseVisionMemoryConfig(const std::string& text, const std::string& file);

}  // namespace genie_env
