// A family of a user's own keeps every promise, with no change to the library.
#include <gtest/gtest.h>

#include "files.h"
#include "linear_gaussian/world.h"
#include "random_world.h"
#include "vec_env_conformance.h"
#include "world_conformance.h"

namespace genie_env {
namespace {

constexpr const char* kConfig = R"({"format_version": 2, "family": "linear-gaussian",
 "name": "small", "dimension": 3, "actions": ["left", "right"], "noise": 0.5, "limit": 4.0,
 "max_episode_steps": 50})";

std::filesystem::path WriteLinearGaussian(const std::filesystem::path& directory) {
  std::filesystem::create_directories(directory);
  WriteBytes(directory / "config.json", kConfig);
  WriteTensors(directory / "model.safetensors",
               {{"transition", 0.9 * at::eye(3)},
                {"pushes", at::tensor({-0.3f, 0.0f, 0.1f, 0.3f, 0.0f, -0.1f}).view({2, 3})}});
  WriteTensors(directory / "starts.safetensors",
               {{"x", at::ones({4, 3}) * at::arange(4).view({4, 1}) / 4}});
  return directory;
}

class LinearGaussianTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!FindWorldFamily("linear-gaussian")) RegisterWorldFamily(LinearGaussianFamily());
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_ = WriteLinearGaussian(directory_.path() / "world");
};

TEST_F(LinearGaussianTest, Conforms) { CheckWorld(*World::Load(path_)); }

TEST_F(LinearGaussianTest, EnvironmentsConform) { CheckVecEnv(World::Load(path_)); }

TEST_F(LinearGaussianTest, HasItsOption) {
  const auto world = World::Load(path_, {.options = {{"noise", int64_t{2}}}});
  ASSERT_EQ(world->spec().options.size(), 1);
  EXPECT_EQ(world->spec().options[0].value, OptionValue(2.0));
  EXPECT_EQ(world->spec().options[0].default_value, OptionValue(0.5));
  EXPECT_EQ(TextOf<std::invalid_argument>([&] {
              World::Load(path_, {.options = {{"noise", 0.0}}});
            }),
            "option 'noise' of small (linear-gaussian) is 0.0, expected a number from 0.001 to 10");
}

TEST_F(LinearGaussianTest, RefusesPicturesOfEnvironments) {
  VecEnv env(World::Load(path_), {.seed = 1});
  env.Reset();
  EXPECT_EQ(TextOf<std::invalid_argument>([&] { env.Render(); }),
            "render: the world \"small\" has no pictures; leave out frames, pixels and rendering");
  EXPECT_NO_THROW(env.Step(at::zeros({1}, at::kLong)));
}

TEST(WorldFamilies, AreRegisteredOnce) {
  const auto refusal = [](WorldFamily family) {
    return TextOf<std::invalid_argument>([&] { RegisterWorldFamily(family); });
  };
  const auto load = LinearGaussianFamily().load;
  EXPECT_EQ(refusal({.name = "genie", .load = load}),
            "the world family 'genie' is registered already: give another name, or register it "
            "once");
  EXPECT_EQ(refusal({.name = "", .load = load}),
            "a world family has an empty name, expected what config.json says");
  EXPECT_EQ(refusal({.name = "new"}), "the world family 'new' has no load function: give one");
  EXPECT_EQ(refusal({.name = "new", .options = {{.name = "a"}, {.name = "a"}}, .load = load}),
            "the world family 'new' has two options 'a': leave one out");
  const auto option = [&](OptionSpec spec) {
    return refusal({.name = "new", .options = {std::move(spec)}, .load = load});
  };
  for (const char* name : {"", "seed", "num_envs"}) {
    EXPECT_EQ(option({.name = name}), "the world family 'new' has an option '" + std::string(name) +
                                          "' whose name is empty or an environment's: rename it");
  }
  const std::string no_value =
      "the world family 'new' has an option 'a' that has no value: give choices, or low <= high";
  EXPECT_EQ(option({.name = "a", .type = OptionType::kChoice}), no_value);
  EXPECT_EQ(option({.name = "a", .type = OptionType::kNumber, .low = 2, .high = 1}), no_value);
  EXPECT_FALSE(FindWorldFamily("new"));
}

TEST(WorldFamilies, OfAnUnknownOneTheErrorNamesThoseThatAreThere) {
  const TemporaryDirectory directory;
  const auto path = WriteLinearGaussian(directory.path() / "world");
  std::string config = kConfig;
  config.replace(config.find("linear-gaussian"), 15, "quadratic");
  WriteBytes(path / "config.json", config);
  const std::string error = TextOf<FormatError>([&] { World::Load(path); });
  EXPECT_NE(error.find(R"("family" is "quadratic", but this genie_env has only "vision-memory")"),
            std::string::npos)
      << error;
}

}  // namespace
}  // namespace genie_env
