#include "genie_env/worlds/genie_world.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <string>

#include "genie_env/core/error.h"
#include "genie_env/worlds/packed_products.h"
#include "random_genie.h"
#include "world_conformance.h"

namespace genie_env {
namespace {

class GenieWorldTest : public testing::Test {
 protected:
  void ExpectRefused(const std::string& from, const std::string& to, const std::string& words) {
    std::string config = kRandomGenieConfig;
    config.replace(config.find(from), from.size(), to);
    WriteBytes(path_ / "config.json", config);
    try {
      World::Load(path_);
      ADD_FAILURE() << "loaded with " << to;
    } catch (const FormatError& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_ = WriteRandomGenie(directory_.path() / "world");
};

TEST_F(GenieWorldTest, Conforms) {
  CheckWorld(*World::Load(path_, {.dtype = "float32"}), 1e-4);
  if (CanPackBf16()) CheckWorld(*World::Load(path_, {.dtype = "bfloat16"}));
}

TEST_F(GenieWorldTest, SaysHowMuchARowTakes) {
  const auto world = World::Load(path_, {.dtype = "float32"});
  int64_t bytes = 0;
  const WorldState state = world->MakeState(3);
  for (const auto& [name, tensor] : state.fields()) {
    bytes += static_cast<int64_t>(tensor.nbytes());
  }
  EXPECT_EQ(world->spec().state_bytes_per_row * 3, bytes);
}

TEST_F(GenieWorldTest, KnowsNoRewardAndNoEnd) {
  const auto world = World::Load(path_);
  WorldState state = world->MakeState(2);
  const RowCounters rng{{1, 0, 0}, {2, 0, 0}};
  world->Begin(state, at::ones({2}, at::kBool), {}, rng);
  const WorldStep step = world->Step(state, at::zeros({2}, at::kLong), at::ones({2}), rng);
  EXPECT_TRUE(at::equal(step.reward, at::zeros({2})));
  EXPECT_TRUE(at::equal(step.terminated, at::zeros({2}, at::kBool)));
  EXPECT_GT(step.surprise.min().item<float>(), 0);
}

TEST_F(GenieWorldTest, ARowThatHasNotBegunIsRefused) {
  const auto world = World::Load(path_);
  WorldState state = world->MakeState(1);
  EXPECT_THROW(world->Step(state, at::zeros({1}, at::kLong), at::ones({1}), {{1, 0, 0}}),
               std::invalid_argument);
}

TEST_F(GenieWorldTest, AConfigIsRefusedByField) {
  ExpectRefused(R"("band": 4)", R"("band": 1)",
                R"("dynamics.band" is 1, expected an integer from 2 to 1024)");
  ExpectRefused(R"("passes": 3)", R"("passes": 65)",
                R"("dynamics.passes" is 65, expected an integer from 1 to 64)");
  ExpectRefused(R"("patch": 4)", R"("patch": 5)",
                "frames of 24 x 16 cannot be cut into patches of 5 x 5");
  ExpectRefused(R"("heads": 3)", R"("heads": 5)", "width is 48 and heads is 5");
  ExpectRefused(R"("order": "confidence")", R"("order": "luck")",
                R"("order" is "luck", expected "confidence" or "random")");
  ExpectRefused(R"("width": 48)", R"("width": 54)", "has shape");
  ExpectRefused(R"("codes": 30)", R"("codes": 29)", "has shape");
}

TEST_F(GenieWorldTest, TokensOfStartsAreWithinTheCodebook) {
  WriteTensors(path_ / "starts.safetensors",
               {{"tokens", at::full({2, RandomGenie::kPositions}, 30, at::kLong)}});
  ExpectRefused(R"("frame_skip": 4)", R"("frame_skip": 4)",
                "tensor \"tokens\" holds 30, expected 0 to 29");
}

TEST_F(GenieWorldTest, ServesTheCpuAndEndsNothing) {
  EXPECT_THROW(World::Load(path_, {.termination = Termination::kSampled}), std::invalid_argument);
}

}  // namespace
}  // namespace genie_env
