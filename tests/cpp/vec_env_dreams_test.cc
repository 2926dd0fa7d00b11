// VecEnv over a real world, of random weights.
#include <ATen/Parallel.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "files.h"
#include "genie_env/env/vec_env.h"
#include "genie_env/kernels/cpu/packed_gemm.h"
#include "random_world.h"

namespace genie_env {
namespace {

class VecEnvDreams : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (GetParam() == std::string("bfloat16") && !CanPackBf16()) {
      GTEST_SKIP() << "this processor has no AVX-512";
    }
    at::set_num_threads(1);  // so little work is done sooner by one
    world_ = World::Load(WriteRandomWorld(directory_.path()), {.dtype = GetParam()});
  }

  VecEnv Make(int64_t num_envs, uint64_t seed = 0) const {
    return VecEnv(world_, {.num_envs = num_envs, .seed = seed});
  }

  /// The rows of one step, compared as the design promises it: bits in bfloat16.
  static void ExpectSame(const VecEnvStep& a, const VecEnvStep& b) {
    const bool to_the_bit = GetParam() == std::string("bfloat16");
    const auto same = [&](const at::Tensor& x, const at::Tensor& y) {
      return to_the_bit ? at::equal(x, y) : at::allclose(x, y, 1e-4, 1e-5);
    };
    EXPECT_TRUE(same(a.observation, b.observation));
    EXPECT_TRUE(same(a.surprise, b.surprise));
    EXPECT_TRUE(at::equal(a.reward, b.reward));
    EXPECT_TRUE(at::equal(a.terminated, b.terminated));
    EXPECT_TRUE(at::equal(a.truncated, b.truncated));
    EXPECT_TRUE(at::equal(a.began, b.began));
  }

  /// How long two dreams can be compared: float32 is promised one step from an equal state.
  static int Steps() { return GetParam() == std::string("bfloat16") ? 60 : 1; }

  /// An action a row, another one at every step.
  static at::Tensor Actions(int64_t rows, int64_t first_row, int step) {
    return (at::arange(first_row, first_row + rows, at::kLong) * 7 + step).remainder(3);
  }

  static VecEnvStep Rows(const VecEnvStep& step, const at::Tensor& rows) {
    const auto pick = [&](const at::Tensor& t) { return t.index_select(0, rows); };
    return {.observation = pick(step.observation),
            .reward = pick(step.reward),
            .terminated = pick(step.terminated),
            .truncated = pick(step.truncated),
            .surprise = pick(step.surprise),
            .began = pick(step.began)};
  }

  TemporaryDirectory directory_;
  std::shared_ptr<const World> world_;
};

INSTANTIATE_TEST_SUITE_P(DTypes, VecEnvDreams, ::testing::Values("float32", "bfloat16"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(VecEnvDreams, SeedsRepeatADreamToTheBit) {
  VecEnv one = Make(5, 1), other = Make(5, 2), again = Make(5, 3);
  const std::vector<uint64_t> seeds{4, 8, 15, 16, 23};
  EXPECT_TRUE(at::equal(one.Reset({.seeds = seeds}), again.Reset({.seeds = seeds})));
  const at::Tensor elsewhere = other.Reset();
  int ended = 0;
  VecEnvStep step;
  for (int i = 0; i < 60; ++i) {
    step = one.Step(Actions(5, 0, i));
    const VecEnvStep repeated = again.Step(Actions(5, 0, i));
    EXPECT_TRUE(at::equal(step.observation, repeated.observation));
    EXPECT_TRUE(at::equal(step.surprise, repeated.surprise));
    EXPECT_TRUE(at::equal(step.terminated, repeated.terminated));
    ended += static_cast<int>(step.began.sum().item<int64_t>());
  }
  EXPECT_GT(ended, 0);
  EXPECT_FALSE(at::allclose(step.observation, elsewhere));
}

TEST_P(VecEnvDreams, ARowDreamsTheSameAloneAndInABatch) {
  constexpr int64_t kRows = 6, kRow = 4;
  VecEnv batch = Make(kRows, 100), alone = Make(1, 100 + kRow);
  batch.Reset();
  alone.Reset();
  for (int i = 0; i < Steps(); ++i) {
    const VecEnvStep step = batch.Step(Actions(kRows, 0, i));
    ExpectSame(alone.Step(Actions(1, kRow, i)), Rows(step, at::tensor({kRow}, at::kLong)));
  }
}

TEST_P(VecEnvDreams, NeighboursChangeNothing) {
  VecEnv quiet = Make(3, 100), busy = Make(3, 100);
  quiet.Reset();
  busy.Reset();
  const at::Tensor row = at::tensor({int64_t{1}}, at::kLong);
  for (int i = 0; i < Steps(); ++i) {
    at::Tensor actions = Actions(3, 0, i);
    const VecEnvStep expected = quiet.Step(actions);
    actions[0] = 1;
    busy.SetTemperature(at::tensor({0.1f + static_cast<float>(i), 1.15f, 3.0f}));
    ExpectSame(Rows(busy.Step(actions), row), Rows(expected, row));
    if (i % 10 == 0) {
      busy.Reset({.seeds = {{7, 7, 7}}, .mask = at::tensor({1, 0, 1}, at::kLong).to(at::kBool)});
    }
  }
}

TEST_P(VecEnvDreams, KeptRowsDreamOn) {
  VecEnv all = Make(4, 100), kept = Make(4, 100);
  all.Reset();
  kept.Reset();
  const at::Tensor rows = at::tensor({int64_t{3}, int64_t{1}}, at::kLong);
  kept.Keep(rows);
  for (int i = 0; i < Steps(); ++i) {
    const at::Tensor actions = Actions(4, 0, i);
    ExpectSame(kept.Step(actions.index_select(0, rows)), Rows(all.Step(actions), rows));
  }
}

TEST_P(VecEnvDreams, FollowsFramesAndDreamsOn) {
  VecEnv env(world_, {.num_envs = 2, .observation = "pixels"});
  const at::Tensor frames = at::full({2, 64, 64, 3}, 99, at::kByte);
  EXPECT_EQ(env.Reset({.frames = frames}).sizes(), at::IntArrayRef({2, 64, 64, 3}));
  const VecEnvStep followed = env.Follow(Actions(2, 0, 0), frames);
  EXPECT_TRUE(at::isfinite(followed.surprise).all().item<bool>());
  EXPECT_TRUE(at::equal(env.Render(), followed.observation));
  EXPECT_EQ(
      TextOf<std::invalid_argument>([&] { env.Follow(Actions(2, 0, 0), frames.slice(1, 0, 32)); }),
      "frames: got uint8 [2, 32, 64, 3], expected uint8 [2, 64, 64, 3]");
  env.Step(Actions(2, 0, 1));  // which may end a row; an ended one follows nothing
  EXPECT_FALSE(at::equal(env.Render(), followed.observation));
}

}  // namespace
}  // namespace genie_env
