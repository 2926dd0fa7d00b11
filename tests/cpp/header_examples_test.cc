// The examples in the headers' comments, as they stand there: test_documentation.py compares them.

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <string>

#include "genie_env/env/vec_env.h"
#include "genie_env/worlds/world.h"
#include "tests/cpp/files.h"
#include "tests/cpp/random_world.h"

class HeaderExamples : public testing::Test {
 protected:
  genie_env::TemporaryDirectory directory_;
  std::string world_ =
      genie_env::WriteRandomWorld(directory_.path() / "world", {8, 16, 2}).string();
  const char* argv[2] = {"program", world_.c_str()};
};

TEST_F(HeaderExamples, World) {
  const auto world = genie_env::World::Load(argv[1]);
  genie_env::WorldState state = world->MakeState(2);
  genie_env::RowCounters rng = {{.seed = 7}, {.seed = 8}};
  world->Begin(state, at::ones({2}, at::kBool), {}, rng);
  for (auto& row : rng) row.step = 1;  // each step has draws of its own
  const at::Tensor actions = at::zeros({2}, at::kLong), tau = at::full({2}, 1.15);
  const std::string kind = world->spec().observations[0].name;
  const genie_env::WorldStep step = world->Step(state, actions, tau, rng, kind);
  const at::Tensor again = world->Observe(state, kind);  // what step.observation holds

  EXPECT_EQ(step.reward.sizes(), at::IntArrayRef({2}));
  EXPECT_EQ(again.sizes(), at::IntArrayRef({2, 8 + 2 * 16}));
  EXPECT_TRUE(at::equal(again, step.observation));
}

TEST_F(HeaderExamples, VecEnv) {
  genie_env::VecEnv env(genie_env::World::Load(argv[1]), {.num_envs = 64, .seed = 0});
  at::Tensor observation = env.Reset();
  for (int i = 0; i < 100; ++i) {
    const at::Tensor actions = at::zeros({64}, at::kLong);  // all to the left
    const genie_env::VecEnvStep step = env.Step(actions);
    observation = step.observation;
  }

  EXPECT_EQ(observation.sizes(), at::IntArrayRef({64, 8 + 2 * 16}));
}
