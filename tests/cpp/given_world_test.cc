// The kits for a world that is made elsewhere: GENIE_ENV_GIVEN_WORLD names its directory.
#include <gtest/gtest.h>

#include <cstdlib>

#include "vec_env_conformance.h"
#include "world_conformance.h"

namespace genie_env {
namespace {

std::shared_ptr<const World> GivenWorld() {
  const char* const directory = std::getenv("GENIE_ENV_GIVEN_WORLD");
  return directory == nullptr ? nullptr : World::Load(directory);
}

TEST(GivenWorld, Conforms) {
  const auto world = GivenWorld();
  if (world == nullptr) GTEST_SKIP() << "GENIE_ENV_GIVEN_WORLD names no world";
  CheckWorld(*world, ToleranceOf(*world), ToleranceOf(*world));
}

TEST(GivenWorld, EnvironmentsConform) {
  const auto world = GivenWorld();
  if (world == nullptr) GTEST_SKIP() << "GENIE_ENV_GIVEN_WORLD names no world";
  CheckVecEnv(world, ToleranceOf(*world), ToleranceOf(*world));
}

}  // namespace
}  // namespace genie_env
