#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "genie_env/core/options.h"
#include "genie_env/worlds/world.h"
#include "genie_env/worlds/world_directory.h"

namespace genie_env {

/// A kind of world: how to load the directories whose config names it, and which options such a
/// world takes. See docs/families.md.
///
///     genie_env::WorldFamily family{.name = "my-family", .load = LoadMyWorld};
///     family.options = {{.name = "noise", .type = genie_env::OptionType::kNumber,
///                        .low = 0, .high = 1, .description = "standard deviation"}};
///     genie_env::RegisterWorldFamily(family);
struct WorldFamily {
  std::string name;                      ///< what config.json calls it
  std::vector<OptionSpec> options = {};  ///< what WorldOptions::options may hold
  /// Makes the world. `options.options` has passed CheckOptions. Throws FormatError on a malformed
  /// directory, std::invalid_argument on options that this machine cannot serve.
  std::function<std::shared_ptr<World>(const WorldDirectory&, const WorldOptions& options)> load =
      nullptr;
};

/// Adds a family to those that World::Load knows, for the life of the process. Throws
/// std::invalid_argument on an empty name, one that is taken, a missing `load`, and an option that
/// is there twice, has no value, or is called as one of an environment's. Thread-safe.
void RegisterWorldFamily(WorldFamily family);

/// The name of the capsule `genie_env._core._register_world_family`, through which an extension
/// module registers a family with the Python package. It changes with the interface.
inline constexpr const char* kRegisterCapsule = "genie_env.RegisterWorldFamily, interface 3";

/// The family of that name, if there is one. Thread-safe.
std::optional<WorldFamily> FindWorldFamily(const std::string& name);

/// All families, the library's own first. Thread-safe.
std::vector<WorldFamily> WorldFamilies();

/// Their names as an error lists them: "genie" and "vision-memory".
std::string WorldFamilyNames();

}  // namespace genie_env
