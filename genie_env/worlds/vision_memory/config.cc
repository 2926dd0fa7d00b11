#include "genie_env/worlds/vision_memory/config.h"

#include <nlohmann/json.hpp>

#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"
#include "genie_env/io/json_check.h"
#include "genie_env/io/json_fields.h"
#include "genie_env/models/vision_memory/sizes.h"
#include "genie_env/worlds/action_config.h"

namespace genie_env {

namespace {

constexpr int64_t kScalarActions = 2;  // formats up to this one give M one number an action

int64_t VisionSideOf(const JsonFields& frame, const char* name) {
  const int64_t side = frame.Integer(name, kMinVisionSide, kMaxVisionSide);
  if (side % kVisionSideStep != 0) {
    frame.Fail(name, "a multiple of " + std::to_string(kVisionSideStep));
  }
  return side;
}

MixtureKind ParseMixture(const JsonFields& fields) {
  constexpr const char* kName = "mixture";
  if (!fields.Has(kName)) return MixtureKind::kIndependent;
  return fields.Choice(kName, kIndependentMixture, kJointMixture) ? MixtureKind::kIndependent
                                                                  : MixtureKind::kJoint;
}

bool ParseRectifiedFeatures(const JsonFields& fields) {
  constexpr const char* kName = "decoder_features";
  return fields.Has(kName) && fields.Choice(kName, kRectifiedFeatures, kLinearFeatures);
}

}  // namespace

VisionMemoryConfig ParseVisionMemoryConfig(const std::string& text, const std::string& file) {
  CheckJsonObject(text, file);
  const nlohmann::json config = nlohmann::json::parse(text);
  const JsonFields fields(config, file);
  const JsonFields sizes = fields.Object("sizes");
  const JsonFields actions = fields.Object("actions");
  const JsonFields frame = fields.Object("frame");
  const int64_t version = fields.FormatVersion(1, 3, "world");
  VisionMemoryConfig parsed{.latents = sizes.Integer("latents", 1, kMaxLatents),
                            .height = VisionSideOf(frame, "height"),
                            .width = VisionSideOf(frame, "width"),
                            .rectified_features = ParseRectifiedFeatures(fields),
                            .hidden = sizes.Integer("hidden", 1, kMaxHidden),
                            .components = sizes.Integer("components", 1, kMaxComponents),
                            .mixture = ParseMixture(fields),
                            .actions = {},
                            .action_inputs = {},
                            .frame_skip = fields.Integer("frame_skip", 1, INT32_MAX),
                            .max_episode_steps = fields.Integer("max_episode_steps", 1, INT32_MAX),
                            .temperature = fields.PositiveNumber("temperature"),
                            .outcome = {}};
  if (version <= kScalarActions) {
    parsed.actions = {.meanings = actions.Texts("meanings", kMaxActions)};
    parsed.action_inputs = actions.NumbersWithinOne("inputs", parsed.actions.meanings.size());
    parsed.outcome = {.reward_per_step = static_cast<float>(fields.Number("reward_per_step")),
                      .termination = ParseTermination(fields)};
    return parsed;
  }
  parsed.actions = ParseActions(actions);
  parsed.outcome = ParseOutcome(fields, /*linear_reward=*/true);
  return parsed;
}

}  // namespace genie_env
