#include "genie_env/env/resolve_options.h"

#include <cmath>
#include <random>
#include <stdexcept>

#include "genie_env/core/text.h"
#include "genie_env/worlds/check_arguments.h"
#include "genie_env/worlds/latent_statistics.h"

namespace genie_env {
namespace {

void CheckThreshold(const std::optional<double>& threshold, const std::string& name) {
  if (threshold && std::isnan(*threshold)) {
    throw std::invalid_argument(name + " is nan, expected a number, or nothing for no threshold");
  }
}

}  // namespace

VecEnvOptions ResolveOptions(VecEnvOptions options, const World* world) {
  if (world == nullptr) throw std::invalid_argument("world is null, expected a loaded world");
  const WorldSpec& spec = world->spec();
  if (options.num_envs < 1) {
    throw std::invalid_argument("num_envs is " + std::to_string(options.num_envs) +
                                ", expected 1 or more");
  }
  if (options.starts) options.starts->CheckWorld(world);
  if (options.observation.empty()) options.observation = spec.observations.at(0).name;
  CheckObservation(options.observation, spec);
  if (!options.temperature) options.temperature = spec.temperature;
  CheckTemperature(*options.temperature, "temperature");
  if (!options.max_episode_steps) options.max_episode_steps = spec.max_episode_steps;
  if (*options.max_episode_steps < 0) {
    throw std::invalid_argument("max_episode_steps is " +
                                std::to_string(*options.max_episode_steps) +
                                ", expected 1 or more, or 0 for no limit");
  }
  CheckThreshold(options.max_surprise, "max_surprise");
  CheckThreshold(options.max_latent_distance, "max_latent_distance");
  if (options.max_latent_distance && *options.max_latent_distance < 0) {
    throw std::invalid_argument("max_latent_distance is " +
                                NumberText(*options.max_latent_distance) +
                                ", expected 0 or more: a distance is never negative");
  }
  if (options.max_latent_distance) options.latent_distance = true;
  if (options.latent_distance && !spec.has_latent_statistics) ThrowNoLatentStatistics(spec.name);
  if (!options.seed) {
    std::random_device system;
    options.seed = uint64_t{system()} << 32 | system();
  }
  return options;
}

}  // namespace genie_env
