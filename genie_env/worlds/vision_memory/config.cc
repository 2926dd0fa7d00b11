#include "genie_env/worlds/vision_memory/config.h"

#include <nlohmann/json.hpp>

#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"
#include "genie_env/io/json_check.h"
#include "genie_env/io/json_fields.h"

namespace genie_env {
namespace {

constexpr int64_t kFrame = 64;  // V's (models/vision_memory/vision.h)
constexpr int64_t kMostActions = 1024;

}  // namespace

VisionMemoryConfig ParseVisionMemoryConfig(const std::string& text, const std::string& file) {
  CheckJsonObject(text, file);
  const nlohmann::json config = nlohmann::json::parse(text);
  const JsonFields fields(config, file);
  const JsonFields sizes = fields.Object("sizes");
  const JsonFields actions = fields.Object("actions");
  const JsonFields frame = fields.Object("frame");
  frame.Integer("height", kFrame, kFrame);
  frame.Integer("width", kFrame, kFrame);
  VisionMemoryConfig parsed{
      .latents = sizes.Integer("latents", 1, kMostLatents),
      .hidden = sizes.Integer("hidden", 1, kMostHidden),
      .components = sizes.Integer("components", 1, kMostComponents),
      .action_meanings = actions.Texts("meanings", kMostActions),
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
