#include "genie_env/worlds/world.h"

#include "genie_env/core/error.h"
#include "genie_env/io/json_check.h"
#include "genie_env/worlds/genie/world.h"
#include "genie_env/worlds/vision_memory/world.h"
#include "genie_env/worlds/world_directory.h"

namespace genie_env {

std::shared_ptr<const World> World::Load(const std::filesystem::path& directory,
                                         const WorldOptions& options) {
  try {
    const WorldDirectory world = OpenWorldDirectory(directory);
    if (world.family == "vision-memory") return LoadVisionMemoryWorld(world, options);
    if (world.family == "genie") return LoadGenieWorld(world, options);
    throw FormatError(world.config_file().string() + ": \"family\" is " + Quoted(world.family) +
                      ", but this genie_env knows only \"vision-memory\" and \"genie\"");
  } catch (const FormatError& error) {
    throw FormatError(std::string(error.what()) +
                      "; copy the world here again, or freeze it again");
  }
}

}  // namespace genie_env
