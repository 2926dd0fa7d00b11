#include "genie_env/worlds/world.h"

#include <algorithm>
#include <stdexcept>

#include "genie_env/core/error.h"
#include "genie_env/io/json_check.h"
#include "genie_env/worlds/latent_statistics.h"
#include "genie_env/worlds/registry.h"
#include "genie_env/worlds/world_directory.h"

namespace genie_env {
namespace {

// What a family's own code owes the library.
void CheckLoaded(const World* world, const WorldFamily& family) {
  const std::string name = "the world family '" + family.name + "' ";
  if (world == nullptr) throw std::logic_error(name + "loaded no world");
  // A world may lack an option of its family, where there is nothing to choose.
  for (const Option& option : world->spec().options) {
    if (std::ranges::find(family.options, option.spec.name, &OptionSpec::name) !=
        family.options.end()) {
      continue;
    }
    throw std::logic_error(name + "loaded a world whose spec().options are not its own");
  }
  if (world->spec().observations.empty()) {
    throw std::logic_error(name + "loaded a world without observations");
  }
}

}  // namespace

std::shared_ptr<const World> World::Load(const std::filesystem::path& directory,
                                         const WorldOptions& options,
                                         const std::function<void()>& between_pieces) {
  try {
    const WorldDirectory world = OpenWorldDirectory(directory, between_pieces);
    const std::optional<WorldFamily> family = FindWorldFamily(world.family);
    if (!family) {
      throw FormatError(world.config_file().string() + ": \"family\" is " + Quoted(world.family) +
                        ", but this genie_env has only " + WorldFamilyNames());
    }
    WorldOptions checked = options;
    checked.options =
        CheckOptions(options.options, family->options, world.name + " (" + world.family + ")");
    std::shared_ptr<World> loaded = family->load(world, checked);
    CheckLoaded(loaded.get(), *family);
    loaded->directory_ = std::filesystem::absolute(directory);
    return loaded;
  } catch (const FormatError& error) {
    throw FormatError(std::string(error.what()) +
                      "; copy the world here again, or freeze it again");
  }
}

std::vector<OverwrittenField> World::OverwrittenByStep(const WorldState& state) const {
  std::vector<OverwrittenField> all;
  for (size_t field = 0; field < state.fields().size(); ++field) all.push_back({.field = field});
  return all;
}

at::Tensor World::LatentDistance(const WorldState& /*state*/) const {
  ThrowNoLatentStatistics(spec().name);
}

}  // namespace genie_env
