#include "genie_env/worlds/genie/config.h"

#include <stdexcept>

#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"
#include "genie_env/io/json_check.h"
#include "genie_env/io/json_fields.h"

namespace genie_env {
namespace {

BlockSizes Block(const JsonFields& fields) {
  return {.width = fields.Integer("width", 1, kMaxWidth),
          .heads = fields.Integer("heads", 1, kMaxWidth)};
}

}  // namespace

GenieConfig ParseGenieConfig(const std::string& text, const std::string& file) {
  CheckJsonObject(text, file);
  const nlohmann::json config = nlohmann::json::parse(text);
  const JsonFields fields(config, file);
  const JsonFields frame = fields.Object("frame");
  const JsonFields eyes = fields.Object("tokenizer");
  const JsonFields mind = fields.Object("dynamics");
  const JsonFields actions = fields.Object("actions");
  // Version 1 called the attention window a band.
  const char* const window = fields.Integer("format_version", 1, 2) == 1 ? "band" : "window";
  GenieConfig parsed{
      .tokenizer = {.clip = {.height = frame.Integer("height", 1, kMaxFrameSide),
                             .width = frame.Integer("width", 1, kMaxFrameSide),
                             .patch = eyes.Integer("patch", 1, kMaxFrameSide)},
                    .block = Block(eyes),
                    .encoder_blocks = eyes.Integer("encoder_blocks", 1, kMaxBlocks),
                    .decoder_blocks = eyes.Integer("decoder_blocks", 1, kMaxBlocks),
                    .codes = eyes.Integer("codes", 2, kMaxCodes),
                    .code_dimensions = eyes.Integer("code_dimensions", 2, kMaxCodeDimensions),
                    .window = eyes.Integer(window, 1, kMaxWindow)},
      .dynamics = {.positions = 0,
                   .codes = eyes.Integer("codes", 2, kMaxCodes),
                   .block = Block(mind),
                   .blocks = mind.Integer("blocks", 1, kMaxBlocks),
                   .window = mind.Integer(window, 2, kMaxWindow),
                   .passes = mind.Integer("passes", 1, kMaxPasses)},
      .order = fields.Choice("order", Name(UnmaskOrder::kConfidence), Name(UnmaskOrder::kRandom))
                   ? UnmaskOrder::kConfidence
                   : UnmaskOrder::kRandom,
      .action_meanings = actions.Texts("meanings", kMaxLatentActions),
      .action_dimensions = actions.Integer("code_dimensions", 1, kMaxCodeDimensions),
      .frame_skip = fields.Integer("frame_skip", 1, INT32_MAX),
      .max_episode_steps = fields.Integer("max_episode_steps", 1, INT32_MAX),
      .temperature = fields.PositiveNumber("temperature")};
  const auto check = [&](const char* field, const auto& sizes) {
    try {
      sizes.Check();
    } catch (const std::invalid_argument& error) {
      throw FormatError(file + ": \"" + field + "\": " + error.what());
    }
  };
  check("tokenizer", parsed.tokenizer.clip);
  check("tokenizer", parsed.tokenizer.block);
  check("dynamics", parsed.dynamics.block);
  parsed.dynamics.positions = parsed.tokenizer.clip.positions();
  return parsed;
}

void ChooseSampling(GenieConfig& config, std::optional<int64_t> passes,
                    const std::optional<std::string>& order) {
  if (passes) {
    if (*passes < 1 || *passes > kMaxPasses) {
      throw std::invalid_argument("passes is " + std::to_string(*passes) + ", expected 1 to " +
                                  std::to_string(kMaxPasses) +
                                  ", or nothing for the world's own number");
    }
    config.dynamics.passes = *passes;
  }
  if (!order) return;
  for (const UnmaskOrder known : {UnmaskOrder::kConfidence, UnmaskOrder::kRandom}) {
    if (*order != Name(known)) continue;
    config.order = known;
    return;
  }
  throw std::invalid_argument("order is " + Quoted(*order) +
                              ", expected \"confidence\" or \"random\", or nothing for the world's "
                              "own");
}

const char* Name(UnmaskOrder order) {
  return order == UnmaskOrder::kConfidence ? "confidence" : "random";
}

}  // namespace genie_env
