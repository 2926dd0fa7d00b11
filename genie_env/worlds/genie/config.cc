#include "genie_env/worlds/genie/config.h"

#include <stdexcept>
#include <string>

#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"
#include "genie_env/io/json_check.h"
#include "genie_env/io/json_fields.h"
#include "genie_env/worlds/action_config.h"

namespace genie_env {
namespace {

constexpr int64_t kLearnsOutcomes = 3;  // formats from this one on may have heads

BlockSizes Block(const JsonFields& fields) {
  return {.width = fields.Integer("width", 1, kMaxWidth),
          .heads = fields.Integer("heads", 1, kMaxWidth)};
}

ActionSpec RecordedActions(const JsonFields& fields) {
  if (!fields.Is("type", "discrete")) fields.Fail("type", "\"discrete\"");
  ActionSpec actions = ParseActions(fields);
  if (actions.count() > kMaxLatentActions) {
    fields.Fail("meanings", "at most " + std::to_string(kMaxLatentActions) + " texts");
  }
  return actions;
}

}  // namespace

GenieConfig ParseGenieConfig(const std::string& text, const std::string& file) {
  CheckJsonObject(text, file);
  const nlohmann::json config = nlohmann::json::parse(text);
  const JsonFields fields(config, file);
  const JsonFields frame = fields.Object("frame");
  const JsonFields tokenizer = fields.Object("tokenizer");
  const JsonFields dynamics = fields.Object("dynamics");
  const JsonFields actions = fields.Object("actions");
  // Version 1 called the attention window a band.
  const int64_t version = fields.Integer("format_version", 1, 3);
  const char* const window = version == 1 ? "band" : "window";
  GenieConfig parsed{
      .tokenizer = {.clip = {.height = frame.Integer("height", 1, kMaxFrameSide),
                             .width = frame.Integer("width", 1, kMaxFrameSide),
                             .patch = tokenizer.Integer("patch", 1, kMaxFrameSide)},
                    .block = Block(tokenizer),
                    .encoder_blocks = tokenizer.Integer("encoder_blocks", 1, kMaxBlocks),
                    .decoder_blocks = tokenizer.Integer("decoder_blocks", 1, kMaxBlocks),
                    .codes = tokenizer.Integer("codes", 2, kMaxCodes),
                    .code_dimensions = tokenizer.Integer("code_dimensions", 2, kMaxCodeDimensions),
                    .window = tokenizer.Integer(window, 1, kMaxWindow)},
      .dynamics = {.positions = 0,
                   .codes = tokenizer.Integer("codes", 2, kMaxCodes),
                   .block = Block(dynamics),
                   .blocks = dynamics.Integer("blocks", 1, kMaxBlocks),
                   .window = dynamics.Integer(window, 2, kMaxWindow),
                   .passes = dynamics.Integer("passes", 1, kMaxPasses)},
      .order = fields.Choice("order", Name(UnmaskOrder::kConfidence), Name(UnmaskOrder::kRandom))
                   ? UnmaskOrder::kConfidence
                   : UnmaskOrder::kRandom,
      .actions = {},
      .frame_skip = fields.Integer("frame_skip", 1, INT32_MAX),
      .max_episode_steps = fields.Integer("max_episode_steps", 1, INT32_MAX),
      .temperature = fields.PositiveNumber("temperature"),
      .outcome = {}};
  if (actions.Has("recorded") && actions.Boolean("recorded")) {
    parsed.actions = RecordedActions(actions);
    parsed.action_dimensions = parsed.actions.count();
  } else {
    parsed.actions = {.meanings = actions.Texts("meanings", kMaxLatentActions)};
    parsed.action_dimensions = actions.Integer("code_dimensions", 1, kMaxCodeDimensions);
  }
  if (version >= kLearnsOutcomes && fields.Has("reward")) parsed.outcome = ParseOutcome(fields);
  const auto check = [&](const char* field, const auto& sizes) {
    try {
      sizes.Check();
    } catch (const std::invalid_argument& error) {
      throw FormatError(file + ": \"" + field + "\": " + error.what());
    }
  };
  if (dynamics.Has("columns")) {
    parsed.dynamics.block.columns = dynamics.Integer("columns", 1, kMaxFrameSide);
  }
  check("tokenizer", parsed.tokenizer.clip);
  check("tokenizer", parsed.tokenizer.block);
  check("dynamics", parsed.dynamics.block);
  parsed.dynamics.positions = parsed.tokenizer.clip.positions();
  if (parsed.dynamics.block.columns != 0 &&
      parsed.dynamics.block.columns != parsed.tokenizer.clip.columns()) {
    dynamics.Fail("columns", std::to_string(parsed.tokenizer.clip.columns()) +
                                 ", the patches in a row of a frame");
  }
  return parsed;
}

const char* Name(UnmaskOrder order) {
  return order == UnmaskOrder::kConfidence ? "confidence" : "random";
}

}  // namespace genie_env
