#include "genie_env/worlds/vision_memory/config.h"

#include <nlohmann/json.hpp>

#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"
#include "genie_env/io/json_check.h"
#include "genie_env/io/json_fields.h"
#include "genie_env/models/vision_memory/sizes.h"

namespace genie_env {

VisionMemoryConfig ParseVisionMemoryConfig(const std::string& text, const std::string& file) {
  CheckJsonObject(text, file);
  const nlohmann::json config = nlohmann::json::parse(text);
  const JsonFields fields(config, file);
  const JsonFields sizes = fields.Object("sizes");
  const JsonFields actions = fields.Object("actions");
  const JsonFields frame = fields.Object("frame");
  frame.Integer("height", kVisionFrame, kVisionFrame);
  frame.Integer("width", kVisionFrame, kVisionFrame);
  VisionMemoryConfig parsed{
      .latents = sizes.Integer("latents", 1, kMaxLatents),
      .hidden = sizes.Integer("hidden", 1, kMaxHidden),
      .components = sizes.Integer("components", 1, kMaxComponents),
      .action_meanings = actions.Texts("meanings", kMaxActions),
      .action_inputs = {},
      .frame_skip = fields.Integer("frame_skip", 1, INT32_MAX),
      .max_episode_steps = fields.Integer("max_episode_steps", 1, INT32_MAX),
      .reward_per_step = static_cast<float>(fields.Number("reward_per_step")),
      .temperature = fields.PositiveNumber("temperature"),
      .samples_termination = fields.Choice("termination", "sampled", "thresholded")};
  parsed.action_inputs = actions.NumbersWithinOne("inputs", parsed.action_meanings.size());
  return parsed;
}

}  // namespace genie_env
