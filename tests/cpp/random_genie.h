#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include <filesystem>
#include <string>

#include "files.h"
#include "genie_env/models/genie/dynamics.h"
#include "genie_env/models/genie/heads.h"
#include "genie_env/models/genie/tokenizer.h"
#include "genie_env/worlds/genie/frozen_genie.h"
#include "random_world.h"

namespace genie_env {

/// Whole numbers from 0 to count - 1.
inline at::Tensor RandomNumbers(uint64_t seed, at::IntArrayRef shape, int64_t count) {
  return (TrainingNoise(seed, 0).Uniform(shape, at::kCPU) * static_cast<double>(count))
      .to(at::kLong);
}

/// Tokenizer and dynamics of random weights, three times as large as training begins with, so that
/// they have something to say. Sizes are such that nothing is a whole panel, and that the frame is
/// no square.
struct RandomGenie {
  static constexpr TokenizerSizes kTokenizer{.clip = {.height = 24, .width = 16, .patch = 4},
                                             .block = {.width = 40, .heads = 2},
                                             .encoder_blocks = 2,
                                             .decoder_blocks = 2,
                                             .codes = 30,
                                             .code_dimensions = 3,
                                             .window = 3};
  static constexpr int64_t kPositions = 24;
  static constexpr DynamicsSizes kDynamics{.positions = kPositions,
                                           .codes = 30,
                                           .block = {.width = 48, .heads = 3},
                                           .blocks = 3,
                                           .window = 4,
                                           .passes = 3};
  static constexpr int64_t kActions = 5;

  /// columns: of the dynamics' blocks (BlockSizes); 0 or 4.
  explicit RandomGenie(int64_t columns = 0)
      : dynamics(WithColumns(kDynamics, columns), action_codes, 2) {
    for (torch::nn::Module* network : {static_cast<torch::nn::Module*>(&tokenizer),
                                       static_cast<torch::nn::Module*>(&dynamics)}) {
      TensorMap enlarged;
      for (const auto& [name, parameter] : ParametersOf(*network)) {
        at::Tensor(parameter).requires_grad_(false);
        enlarged.emplace(name, parameter * 3);
      }
      LoadParameters(*network, enlarged);
    }
  }

  at::Tensor action_codes = TrainingNoise(7, 0).Uniform({kActions, 6}, at::kCPU) - 0.5;
  Tokenizer tokenizer{kTokenizer, 1};
  Dynamics dynamics;

 private:
  static DynamicsSizes WithColumns(DynamicsSizes sizes, int64_t columns) {
    sizes.block.columns = columns;
    return sizes;
  }
};

/// What a frozen Genie is made of, and what it moves.
struct GenieScene : RandomGenie {
  using RandomGenie::RandomGenie;

  GenieWeights weights{.tokenizer_sizes = kTokenizer,
                       .dynamics_sizes = dynamics.sizes(),
                       .tokenizer = ParametersOf(tokenizer),
                       .dynamics = ParametersOf(dynamics),
                       .action_codes = action_codes};

  /// Rows that have not begun.
  static GenieState MakeState(int64_t rows, at::ScalarType dtype, at::Device device = at::kCPU) {
    const auto numbers = at::TensorOptions(device).dtype(at::kLong);
    const auto cache = [&](int64_t blocks, int64_t slots, int64_t width) {
      return at::zeros({rows, blocks, 2, kPositions, slots, width}, numbers.dtype(dtype));
    };
    return {.tokens = at::zeros({rows, kPositions}, numbers),
            .time = at::zeros({rows}, numbers),
            .kv_cache = cache(kDynamics.blocks, kDynamics.window - 1, kDynamics.block.width),
            .encoder_time = at::zeros({rows}, numbers),
            .encoder_kv_cache =
                cache(kTokenizer.encoder_blocks, kTokenizer.window - 1, kTokenizer.block.width),
            .features = at::zeros({rows, kDynamics.features()}, numbers.dtype(at::kFloat))};
  }
};

inline constexpr const char* kRandomGenieConfig =
    R"({"format_version": 1, "family": "genie", "name": "random-genie",
 "frame": {"height": 24, "width": 16},
 "tokenizer": {"patch": 4, "width": 40, "heads": 2, "encoder_blocks": 2, "decoder_blocks": 2,
  "codes": 30, "code_dimensions": 3, "band": 3},
 "dynamics": {"width": 48, "heads": 3, "blocks": 3, "band": 4, "passes": 3},
 "order": "confidence",
 "actions": {"meanings": ["0", "1", "2", "3", "4"], "code_dimensions": 6},
 "frame_skip": 4, "max_episode_steps": 100, "temperature": 1.0})";

/// What its model.safetensors holds.
inline TensorMap RandomGenieWeights(int64_t columns = 0) {
  const RandomGenie genie(columns);
  TensorMap weights{{"action_codes", genie.action_codes}};
  for (const auto& [name, parameter] : ParametersOf(genie.tokenizer)) {
    weights.emplace("tokenizer." + name, parameter);
  }
  for (const auto& [name, parameter] : ParametersOf(genie.dynamics)) {
    weights.emplace("dynamics." + name, parameter);
  }
  return weights;
}

/// Of heads that judge rewards from -3 to 2, and terminations.
inline HeadsSizes RandomHeads(bool judges_termination) {
  return {.features = RandomGenie::kDynamics.features(),
          .actions = RandomGenie::kActions,
          .reward = true,
          .termination = true,
          .judges_termination = judges_termination};
}

/// Their parameters, three times as large as training begins with.
inline TensorMap RandomHeadsWeights(bool judges_termination) {
  TensorMap weights;
  const Heads heads(RandomHeads(judges_termination), RewardRange{.low = -3, .high = 2}, 5);
  for (const auto& [name, parameter] : ParametersOf(heads)) {
    weights.emplace(name, (parameter * 3).detach());
  }
  return weights;
}

/// The fields of a config that say so.
inline std::string HeadsConfig(bool judges_termination) {
  return std::string(R"("reward": {"type": "learned", "low": -3, "high": 2},
 "termination": "sampled", "termination_reads": ")") +
         (judges_termination ? "next_frame" : "action") + "\",\n ";
}

/// A config like kRandomGenieConfig of format version 3, with these fields.
inline std::string ThirdGenieConfig(const std::string& fields) {
  std::string config = kRandomGenieConfig;
  const auto replace = [&](const std::string& from, const std::string& to) {
    config.replace(config.find(from), from.size(), to);
  };
  replace(R"("format_version": 1)", R"("format_version": 3)");
  replace(R"("band")", R"("window")");
  replace(R"("band")", R"("window")");
  replace(R"("frame_skip")", fields + R"("frame_skip")");
  return config;
}

/// Writes it as a world with 7 starts into `directory`; returns it.
inline std::filesystem::path WriteRandomGenie(const std::filesystem::path& directory,
                                              const std::string& config = kRandomGenieConfig,
                                              const TensorMap& heads = {}, int64_t columns = 0) {
  std::filesystem::create_directories(directory);
  TensorMap weights = RandomGenieWeights(columns);
  for (const auto& [name, weight] : heads) weights.emplace("heads." + name, weight);
  WriteBytes(directory / "config.json", config);
  WriteTensors(directory / "model.safetensors", weights);
  WriteTensors(
      directory / "starts.safetensors",
      {{"tokens", RandomNumbers(9, {7, RandomGenie::kPositions}, RandomGenie::kTokenizer.codes)}});
  return directory;
}

/// The same with dynamics that are given what is near.
inline std::filesystem::path WriteLocalGenie(const std::filesystem::path& directory) {
  std::string config = kRandomGenieConfig;
  const std::string before = R"("passes": 3)";
  config.insert(config.find(before) + before.size(), R"(, "columns": 4)");
  return WriteRandomGenie(directory, config, {}, 4);
}

/// The same with heads.
inline std::filesystem::path WriteJudgingGenie(const std::filesystem::path& directory,
                                               bool judges_termination = true) {
  return WriteRandomGenie(directory, ThirdGenieConfig(HeadsConfig(judges_termination)),
                          RandomHeadsWeights(judges_termination));
}

}  // namespace genie_env
