#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>

#include <filesystem>
#include <map>
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

/// The weights of a random world: V's as they are first drawn; M's three times as large, so that it
/// has something to say, and with few deaths.
inline TensorMap RandomWeights(const MemorySizes& sizes, uint64_t seed) {
  TensorMap weights;
  for (const auto& [name, parameter] : ParametersOf(Vision(sizes.latents, seed))) {
    weights["vision." + name] = parameter.detach().to(at::kHalf);
  }
  for (const auto& [name, parameter] : ParametersOf(Memory(sizes, seed + 1))) {
    weights["memory." + name] = (3 * parameter.detach()).to(at::kHalf);
  }
  weights["memory.output.bias"][sizes.output() - 1] = -4;
  return weights;
}

inline std::string RandomConfig(const MemorySizes& sizes) {
  return R"({"format_version": 1, "family": "vision-memory", "name": "random",
 "sizes": {"latents": )" +
         std::to_string(sizes.latents) + R"(, "hidden": )" + std::to_string(sizes.hidden) +
         R"(, "components": )" + std::to_string(sizes.components) + R"(},
 "actions": {"meanings": ["left", "stay", "right"], "inputs": [-1.0, 0.0, 1.0]},
 "frame": {"height": 64, "width": 64}, "frame_skip": 1, "max_episode_steps": 100,
 "reward_per_step": 1.0, "temperature": 1.15, "termination": "sampled"})";
}

/// Writes a small world of random weights and 7 starts into `directory`; returns it. The one of
/// tests/python/random_world.py has the same layout.
inline std::filesystem::path WriteRandomWorld(const std::filesystem::path& directory,
                                              const MemorySizes& sizes = {16, 32, 3},
                                              uint64_t seed = 0) {
  std::filesystem::create_directories(directory);
  WriteBytes(directory / "config.json", RandomConfig(sizes));
  WriteTensors(directory / "model.safetensors", RandomWeights(sizes, seed));
  constexpr int64_t kStarts = 7;
  WriteTensors(directory / "starts.safetensors",
               {{"mu", TrainingNoise(seed, 0).Normal({kStarts, sizes.latents}, at::kCPU)},
                {"logvar", at::full({kStarts, sizes.latents}, -2.0f, at::kFloat)}});
  return directory;
}

}  // namespace genie_env
