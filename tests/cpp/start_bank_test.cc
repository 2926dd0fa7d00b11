// Episodes that begin from recorded contexts.
#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <span>
#include <string>

#include "counting_env.h"
#include "genie_env/env/snapshot_parts.h"

namespace genie_env {
namespace {

/// K contexts of one frame and two that are followed; the counts at their ends are 100 + k.
std::shared_ptr<const StartBank> Bank(const std::shared_ptr<const World>& world, int64_t count) {
  at::Tensor frames = at::zeros({count, 3, 1, 1, 3}, at::kByte);
  for (int64_t k = 0; k < count; ++k) frames.select(0, k).select(0, 2).fill_(100 + k);
  return StartBank::Encode(world, frames, at::ones({count, 2}, at::kLong));
}

class StartBanks : public ::testing::Test {
 protected:
  VecEnv Make(VecEnvOptions options) {
    options.starts = bank;
    return VecEnv(world, std::move(options));
  }

  const std::shared_ptr<const CountingWorld> world = std::make_shared<CountingWorld>(255);
  const std::shared_ptr<const StartBank> bank = Bank(world, 8);
};

/// The numbers at the ends of the contexts that rows stand at.
Numbers Counts(const at::Tensor& told) { return Flat(told.select(1, 0)); }

TEST_F(StartBanks, EpisodesBeginAtTheEndsOfContexts) {
  VecEnv env = Make({.num_envs = 64, .seed = 3});
  const Numbers counts = Counts(env.Reset());
  std::set<int64_t> seen(counts.begin(), counts.end());
  EXPECT_EQ(seen, (std::set<int64_t>{100, 101, 102, 103, 104, 105, 106, 107}));
  // They go on as any episode: the first, at its first step.
  const Table told = TableOf(env.Step(at::zeros({64}, at::kLong)).observation);
  EXPECT_EQ(told[5], (Numbers{counts[5] + 1, 8, 0, 1, 0}));
}

TEST_F(StartBanks, ADrawIsAFunctionOfSeedAndEpisodeInAStreamOfItsOwn) {
  VecEnv many = Make({.num_envs = 64, .seed = 3}), one = Make({.num_envs = 1});
  for (int64_t episode = 0; episode < 4; ++episode) {
    const Numbers counts = Counts(many.Reset());
    for (const int64_t row : {0, 17, 63}) {
      float uniform = 0;
      FillUniform(
          {.seed = static_cast<uint64_t>(3 + row), .episode = static_cast<uint32_t>(episode)},
          Stream::kStartBank, {&uniform, 1});
      EXPECT_EQ(counts[static_cast<size_t>(row)], 100 + static_cast<int64_t>(uniform * 8));
    }
  }
  EXPECT_EQ(Counts(one.Reset({.seeds = {{20}}})),
            Numbers{Counts(many.Reset({.seeds = std::vector<uint64_t>(64, 20)}))[0]});
}

TEST_F(StartBanks, AutoresetsBeginThereToo) {
  for (const AutoresetMode mode : {AutoresetMode::kNextStep, AutoresetMode::kSameStep}) {
    VecEnv env = Make({.num_envs = 3, .autoreset_mode = mode, .max_episode_steps = 2, .seed = 3});
    VecEnv resets = Make({.num_envs = 3, .seed = 3});
    const at::Tensor actions = at::zeros({3}, at::kLong);
    EXPECT_EQ(Counts(env.Reset()), Counts(resets.Reset()));
    for (int episode = 0; episode < 5; ++episode) {
      env.Step(actions);
      VecEnvStep step = env.Step(actions);
      EXPECT_EQ(Flat(step.truncated), (Numbers{1, 1, 1}));  // the context's steps do not count
      if (mode == AutoresetMode::kNextStep) step = env.Step(actions);
      EXPECT_EQ(Counts(step.observation), Counts(resets.Reset()));
    }
  }
}

TEST_F(StartBanks, GivenFramesAndSnapshotsComeFirst) {
  VecEnv env = Make({.num_envs = 2, .seed = 3});
  EXPECT_EQ(Counts(env.Reset({.frames = Frames({7, 9})})), (Numbers{7, 9}));
  const Snapshot snapshot = env.TakeSnapshot();
  const Numbers counts = Counts(env.Reset());
  EXPECT_GE(counts[0], 100);
  EXPECT_EQ(Counts(env.Reset({.mask = Mask({false, true}), .snapshot = snapshot})),
            (Numbers{counts[0], 9}));
}

TEST_F(StartBanks, AFailingFunctionTakesABeginBack) {
  bool fails = false;
  VecEnvOptions options{.num_envs = 2, .max_episode_steps = 1, .seed = 3};
  options.reward_fn = [&](const at::Tensor&, const at::Tensor&, const at::Tensor& next) {
    if (fails) throw std::runtime_error("no reward");
    return at::zeros({next.size(0)}, at::kFloat);
  };
  VecEnv env = Make(options), untouched = Make({.num_envs = 2, .max_episode_steps = 1, .seed = 3});
  const at::Tensor actions = at::zeros({2}, at::kLong);
  for (VecEnv* each : {&env, &untouched}) {
    each->Reset();
    each->Step(actions);
  }
  fails = true;
  EXPECT_THROW(env.Step(actions), std::runtime_error);
  fails = false;
  EXPECT_EQ(TableOf(env.Step(actions).observation), TableOf(untouched.Step(actions).observation));
}

TEST_F(StartBanks, SnapshotsKnowTheirStarts) {
  VecEnv env = Make({.num_envs = 2, .seed = 3}), same = Make({.num_envs = 2, .seed = 9});
  env.Reset();
  same.Reset();
  const Snapshot taken = env.TakeSnapshot();
  const std::string bytes = taken.ToBytes();
  const Snapshot stored = Snapshot::FromBytes(std::as_bytes(std::span(bytes)), "a file");
  EXPECT_EQ(TableOf(same.Restore(stored)), TableOf(env.Restore(taken)));
  EXPECT_EQ(TableOf(same.Reset()), TableOf(env.Reset()));  // the next episodes are the same, too

  VecEnv plain(world, {.num_envs = 2}), other(world, {.num_envs = 2, .starts = Bank(world, 7)});
  const auto refused = [](VecEnv& into, const Snapshot& snapshot) -> std::string {
    into.Reset();
    try {
      into.Restore(snapshot);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  const std::string hash = bank->hash().substr(0, 12);
  EXPECT_EQ(refused(plain, stored),
            "snapshot: it was taken where episodes begin from the starts " + hash +
                ", but those of this environment begin from the world's own starts; restore it in "
                "one that has the same");
  EXPECT_NE(refused(other, stored).find("begin from the starts "), std::string::npos);
  EXPECT_NE(refused(env, plain.TakeSnapshot()).find("the world's own starts, but"),
            std::string::npos);
}

TEST_F(StartBanks, KeptRowsDrawAsBefore) {
  VecEnv env = Make({.num_envs = 4, .seed = 3}), all = Make({.num_envs = 4, .seed = 3});
  env.Reset();
  all.Reset();
  env.Keep(Longs({3, 1}));
  const Numbers kept = Counts(env.Reset()), every = Counts(all.Reset());
  EXPECT_EQ(kept, (Numbers{every[3], every[1]}));
}

TEST(StartBank, ManyContextsAreEncodedInPieces) {
  const auto world = std::make_shared<CountingWorld>(255);
  at::Tensor frames = at::zeros({600, 1, 1, 1, 3}, at::kByte);
  for (int64_t k = 0; k < 600; ++k) frames.select(0, k).fill_(k % 251);
  int calls = 0;
  const auto bank =
      StartBank::Encode(world, frames, at::zeros({600, 0}, at::kLong), [&] { ++calls; });
  EXPECT_EQ(bank->size(), 600);
  EXPECT_EQ(calls, 0);  // nothing is followed
  VecEnv env(world, {.num_envs = 2000, .starts = bank, .seed = 1});
  const Numbers counts = Counts(env.Reset());
  EXPECT_EQ(std::set<int64_t>(counts.begin(), counts.end()).size(), 251u);
}

TEST(StartBank, TheSameContextsHaveTheSameHash) {
  const auto world = std::make_shared<CountingWorld>(255),
             other = std::make_shared<CountingWorld>(3);
  EXPECT_EQ(Bank(world, 5)->hash(), Bank(other, 5)->hash());
  EXPECT_NE(Bank(world, 5)->hash(), Bank(world, 6)->hash());
  EXPECT_EQ(Bank(world, 5)->hash().size(), 64u);
}

TEST(StartBank, WhatIsWrongIsRefused) {
  const auto world = std::make_shared<CountingWorld>(255);
  const auto refused = [&](const at::Tensor& frames, const at::Tensor& actions) -> std::string {
    try {
      StartBank::Encode(world, frames, actions);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  const at::Tensor frames = at::zeros({2, 3, 1, 1, 3}, at::kByte);
  const at::Tensor actions = at::zeros({2, 2}, at::kLong);
  EXPECT_EQ(refused(frames.select(0, 0), actions),
            "frames: got uint8 [3, 1, 1, 3], expected uint8 [any, any, 1, 1, 3]");
  EXPECT_EQ(refused(frames, actions.narrow(1, 0, 1)),
            "actions: got int64 [2, 1], expected int64 [2, 2]");
  EXPECT_EQ(refused(frames.narrow(0, 0, 0), actions),
            "frames: got uint8 [0, 3, 1, 1, 3], expected one context or more, each of one frame or "
            "more");
  EXPECT_EQ(refused(frames, actions + 3), "action 3");
  EXPECT_THROW(StartBank::Encode(nullptr, frames, actions), std::invalid_argument);
  const auto bank = StartBank::Encode(world, frames, actions);
  EXPECT_THROW(VecEnv(std::make_shared<CountingWorld>(255), {.starts = bank}),
               std::invalid_argument);
}

}  // namespace
}  // namespace genie_env
