#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "genie_env/core/spec.h"
#include "genie_env/models/genie/sizes.h"
#include "genie_env/worlds/genie/mask_schedule.h"
#include "genie_env/worlds/outcome_config.h"

namespace genie_env {

/// What config.json says of a world of the genie family, beside its name.
struct GenieConfig {
  TokenizerSizes tokenizer;  ///< "frame" and "tokenizer"
  DynamicsSizes dynamics;    ///< "dynamics"; positions and codes are the tokenizer's
  UnmaskOrder order = UnmaskOrder::kConfidence;  ///< "order": "confidence" or "random"
  /// "actions": the recordings' where it says "recorded", or else latent ones, numbered from 0.
  ActionSpec actions;
  int64_t action_dimensions = 0;  ///< of their codebook, which of recorded ones is one-hot
  int64_t frame_skip = 0;
  int64_t max_episode_steps = 0;
  double temperature = 0;
  /// "reward", "termination" and "termination_reads", of a world that has learned them; an episode
  /// of another pays nothing and never terminates.
  OutcomeConfig outcome;

  /// Of the heads that judge them.
  HeadsSizes heads() const {
    return {.features = dynamics.features(),
            .actions = actions.count(),
            .reward = outcome.rewards.has_value(),
            .termination = outcome.termination != Termination::kNever,
            .judges_termination = outcome.judges_termination};
  }
};

/// `text` is the JSON of `file`. Throws FormatError naming the file and the field that is missing,
/// of another type or out of range; other fields (how the world was trained) are ignored.
GenieConfig ParseGenieConfig(const std::string& text, const std::string& file);

/// As config.json and the option call it.
const char* Name(UnmaskOrder order);

}  // namespace genie_env
