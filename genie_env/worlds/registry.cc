#include "genie_env/worlds/registry.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <stdexcept>
#include <utility>

#include "genie_env/worlds/exported/world.h"
#include "genie_env/worlds/genie/world.h"
#include "genie_env/worlds/vision_memory/world.h"

namespace genie_env {
namespace {

struct Registry {
  // Recursive, because the library's own families are registered by the first call of any.
  std::recursive_mutex mutex;
  bool has_own_families = false;
  std::vector<WorldFamily> families;
};

Registry& TheRegistry() {
  static Registry registry;
  return registry;
}

// The library's own families: this list is the only place that names them all.
void RegisterOwnFamilies(Registry& registry) {
  if (std::exchange(registry.has_own_families, true)) return;
  RegisterWorldFamily(VisionMemoryFamily());
  RegisterWorldFamily(GenieFamily());
  RegisterWorldFamily(ExportedFamily());
}

// What environments call their own options, which could not be told from a family's.
constexpr const char* kReserved[] = {"world",          "num_envs",          "device",
                                     "dtype",          "observation",       "temperature",
                                     "autoreset_mode", "max_episode_steps", "max_surprise",
                                     "seed",           "latent_distance",   "max_latent_distance",
                                     "reward_fn",      "render_mode",       "termination_fn",
                                     "output",         "family_options"};

void CheckOption(const OptionSpec& option, const std::string& family) {
  const std::string its = family + " has an option '" + option.name + "' ";
  if (option.name.empty() || std::ranges::find(kReserved, option.name) != std::end(kReserved)) {
    throw std::invalid_argument(its + "whose name is empty or an environment's: rename it");
  }
  const bool ranged = option.type == OptionType::kInteger || option.type == OptionType::kNumber;
  if (option.type == OptionType::kChoice ? option.choices.empty()
                                         : ranged && !(option.low <= option.high)) {
    throw std::invalid_argument(its + "that has no value: give choices, or low <= high");
  }
}

void CheckFamily(const WorldFamily& family, const std::vector<WorldFamily>& known) {
  std::string name = "the world family '" + family.name + "'";
  if (family.name.empty()) {
    throw std::invalid_argument("a world family has an empty name, expected what config.json says");
  }
  if (std::ranges::find(known, family.name, &WorldFamily::name) != known.end()) {
    throw std::invalid_argument(name +
                                " is registered already: give another name, or register it "
                                "once");
  }
  if (!family.load) throw std::invalid_argument(name + " has no load function: give one");
  std::set<std::string> names;
  for (const OptionSpec& option : family.options) {
    CheckOption(option, name);
    if (!names.insert(option.name).second) {
      throw std::invalid_argument(
          name.append(" has two options '" + option.name + "': leave one out"));
    }
  }
}

}  // namespace

void RegisterWorldFamily(WorldFamily family) {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  RegisterOwnFamilies(registry);
  CheckFamily(family, registry.families);
  registry.families.push_back(std::move(family));
}

std::vector<WorldFamily> WorldFamilies() {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  RegisterOwnFamilies(registry);
  return registry.families;
}

std::optional<WorldFamily> FindWorldFamily(const std::string& name) {
  for (WorldFamily& family : WorldFamilies()) {
    if (family.name == name) return std::move(family);
  }
  return std::nullopt;
}

std::string WorldFamilyNames() {
  std::string names;
  const std::vector<WorldFamily> families = WorldFamilies();
  for (size_t i = 0; i < families.size(); ++i) {
    const char* const before = i == 0 ? "" : i + 1 == families.size() ? " and " : ", ";
    names += before + ("\"" + families[i].name + "\"");
  }
  return names;
}

}  // namespace genie_env
