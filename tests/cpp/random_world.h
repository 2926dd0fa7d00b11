#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "files.h"
#include "genie_env/io/safetensors.h"
#include "genie_env/models/vision_memory/memory.h"
#include "genie_env/models/vision_memory/vision.h"
#include "genie_env/tensor/stored_tensors.h"

namespace genie_env {

/// Writes them as a safetensors file.
inline void WriteTensors(const std::filesystem::path& file, const TensorMap& tensors,
                         const std::map<std::string, std::string>& metadata = {}) {
  TensorMap kept;
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& stored = kept.emplace(name, tensor.detach().contiguous()).first->second;
    views[name] = ViewOf(stored);
  }
  WriteSafetensors(file, views, metadata);
}

/// What a random world has beside its sizes; by default what worlds of format 1 have.
struct RandomKind {
  int64_t format = 1;
  std::string actions = R"({"meanings": ["left", "stay", "right"], "inputs": [-1.0, 0.0, 1.0]})";
  std::string termination = "sampled";
  std::optional<RewardRange> rewards = std::nullopt;
  bool judges_termination = false;
  /// As of imported checkpoints, from format 3: a reward that is linear in h, and a decoder of
  /// rectified features.
  bool imported = false;
};

/// Two continuous numbers an action, learned rewards, terminations that the next frame shows.
inline RandomKind JudgingKind() {
  return {.format = 3,
          .actions = R"({"type": "box", "shape": [2], "low": [-1, 0], "high": [1, 0.5]})",
          .rewards = RewardRange{.low = -3, .high = 2},
          .judges_termination = true};
}

/// The weights of a random world: V's as they are first drawn; M's three times as large, so that it
/// has something to say, and with few deaths.
inline TensorMap RandomWeights(const MemorySizes& sizes, uint64_t seed,
                               const RandomKind& kind = {}) {
  TensorMap weights;
  for (const auto& [name, parameter] : ParametersOf(Vision({.latents = sizes.latents}, seed))) {
    weights["vision." + name] = parameter.detach().to(at::kHalf);
  }
  const Memory memory(sizes, seed + 1, kind.rewards, kind.judges_termination);
  for (const auto& [name, parameter] : ParametersOf(memory)) {
    weights["memory." + name] = (3 * parameter.detach()).to(at::kHalf);
  }
  weights["memory.output.bias"][sizes.output() - 1] = -4;
  if (kind.imported) {
    weights["memory.reward.weight"] = 0.1f * at::arange(sizes.hidden, at::kFloat).unsqueeze(0);
    weights["memory.reward.bias"] = at::full({1}, 0.5f);
  }
  return weights;
}

inline std::string RandomConfig(const MemorySizes& sizes, const RandomKind& kind = {}) {
  const auto text = [](double number) { return std::to_string(number); };
  std::string reward = R"("reward_per_step": 1.0)";
  if (kind.format > 2) {
    reward = R"("reward": {"type": )" +
             (kind.rewards ? R"("learned", "low": )" + text(kind.rewards->low) + R"(, "high": )" +
                                 text(kind.rewards->high)
              : kind.imported ? R"("linear")"
                              : R"("constant", "per_step": 1.0)") +
             R"(}, "termination_reads": ")" + (kind.judges_termination ? "next_frame" : "action") +
             "\"";
  }
  return R"({"format_version": )" + std::to_string(kind.format) +
         R"(, "family": "vision-memory", "name": "random",
 "sizes": {"latents": )" +
         std::to_string(sizes.latents) + R"(, "hidden": )" + std::to_string(sizes.hidden) +
         R"(, "components": )" + std::to_string(sizes.components) + R"(},
 )" + (sizes.mixture == MixtureKind::kJoint ? R"("mixture": "joint", )" : "") +
         (kind.imported ? R"("decoder_features": "rectified", )" : "") + R"("actions": )" +
         kind.actions +
         R"(,
 "frame": {"height": 64, "width": 64}, "frame_skip": 1, "max_episode_steps": 100,
 )" + reward +
         R"(, "temperature": 1.15, "termination": ")" + kind.termination + R"("})";
}

/// Writes a small world of random weights and 7 starts into `directory`; returns it. The one of
/// tests/python/random_world.py has the same layout.
inline std::filesystem::path WriteRandomWorld(const std::filesystem::path& directory,
                                              const MemorySizes& sizes = {16, 32, 3},
                                              uint64_t seed = 0, const RandomKind& kind = {}) {
  std::filesystem::create_directories(directory);
  WriteBytes(directory / "config.json", RandomConfig(sizes, kind));
  WriteTensors(directory / "model.safetensors", RandomWeights(sizes, seed, kind));
  constexpr int64_t kStarts = 7;
  WriteTensors(directory / "starts.safetensors",
               {{"mu", TrainingNoise(seed, 0).Normal({kStarts, sizes.latents}, at::kCPU)},
                {"logvar", at::full({kStarts, sizes.latents}, -2.0f, at::kFloat)}});
  return directory;
}

}  // namespace genie_env
