// Where episodes begin.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <functional>
#include <utility>

#include "counting_env.h"
#include "files.h"
#include "genie_env/env/snapshot_parts.h"

namespace genie_env {
namespace {

/// Frames [N, T, 1, 1, 3], one value a frame.
at::Tensor Films(const std::vector<std::vector<uint8_t>>& values) {
  std::vector<uint8_t> flat;
  for (const auto& film : values) flat.insert(flat.end(), film.begin(), film.end());
  return Frames(flat).view(
      {static_cast<int64_t>(values.size()), static_cast<int64_t>(values[0].size()), 1, 1, 3});
}

TEST(Starts, FramesAndActionsBurnIn) {
  VecEnv env = Counting(99, {.num_envs = 2, .max_episode_steps = 4, .seed = 40});
  EXPECT_EQ(TableOf(env.Reset({.frames = Films({{5, 6, 7}, {1, 9, 3}}),
                               .actions = Longs({0, 1, 2, 0}).view({2, 2})})),
            (Table{{7, 40, 0, 2, 1}, {3, 41, 0, 2, 0}}));
  const VecEnvStep step = env.Step(Longs({2, 2}));
  EXPECT_EQ(TableOf(step.observation), (Table{{8, 40, 0, 3, 2}, {4, 41, 0, 3, 2}}));
  EXPECT_EQ(Flat(step.truncated), (Numbers{0, 0}));
  EXPECT_EQ(Flat(env.Step(Longs({2, 2})).truncated), (Numbers{1, 1}));  // 2 + 2 steps
}

TEST(Starts, BurnInOfMaskedRowsAlone) {
  VecEnv env = Counting(99, {.num_envs = 3, .seed = 40});
  env.Reset();
  env.Step(Longs({0, 1, 2}));
  // What is given for the other rows counts for nothing, whatever it is.
  const at::Tensor observation = env.Reset({.seeds = {{1, 2, 3}},
                                            .mask = Mask({false, true, false}),
                                            .frames = Films({{0, 0}, {5, 6}, {0, 0}}),
                                            .actions = Longs({-7, 2, 99}).view({3, 1})});
  EXPECT_EQ(TableOf(observation), (Table{{1, 40, 0, 1, 0}, {6, 2, 0, 1, 2}, {1, 42, 0, 1, 2}}));
}

TEST(Starts, WhatIsThrownBetweenFramesLeavesEveryRowAsItWas) {
  VecEnv env = Counting(99, {.num_envs = 1, .seed = 40}),
         untouched = Counting(99, {.num_envs = 1, .seed = 40});
  for (VecEnv* each : {&env, &untouched}) {
    each->Reset({.frames = Frames({5})});
    each->Step(Longs({0}));
  }
  struct Stop {};
  int calls = 0;
  ResetOptions film{.frames = Films({{1, 2, 3, 4}}), .actions = Longs({0, 0, 0}).view({1, 3})};
  film.between_frames = [&] {
    if (++calls == 2) throw Stop{};
  };
  EXPECT_THROW(env.Reset(film), Stop);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(TableOf(env.Step(Longs({2})).observation),
            TableOf(untouched.Step(Longs({2})).observation));
  film.between_frames = [&] { ++calls; };
  EXPECT_EQ(TableOf(env.Reset(film)), (Table{{4, 40, 1, 3, 0}}));
  EXPECT_EQ(calls, 5);
}

TEST(Starts, OneFrameOfAFilmIsAFrame) {
  VecEnv env = Counting(99, {.num_envs = 2, .seed = 40});
  EXPECT_EQ(TableOf(env.Reset({.frames = Films({{5}, {6}})})),
            (Table{{5, 40, 0, 0, -1}, {6, 41, 0, 0, -1}}));
}

TEST(Starts, ASnapshotBeginsAnEpisodeOfTheRow) {
  VecEnv env = Counting(99, {.num_envs = 2, .max_episode_steps = 3, .seed = 40});
  env.Reset({.frames = Frames({5, 20})});
  env.Step(Longs({0, 1}));
  env.Step(Longs({0, 1}));
  const Snapshot both = env.TakeSnapshot(), one = env.TakeSnapshot(Longs({1}));
  env.Reset({.seeds = {{7, 8}}});
  // The state is the snapshot's; seeds, episodes and steps are those of any reset.
  env.Reset({.snapshot = both});
  VecEnvStep step = env.Step(Longs({2, 2}));
  EXPECT_EQ(TableOf(step.observation), (Table{{8, 7, 1, 1, 2}, {23, 8, 1, 1, 2}}));
  EXPECT_EQ(Flat(step.truncated), (Numbers{0, 0}));
  env.Reset({.seeds = {{1, 2}}, .mask = Mask({true, false}), .snapshot = one});
  EXPECT_EQ(TableOf(env.Step(Longs({0, 0})).observation),
            (Table{{23, 1, 0, 1, 0}, {24, 8, 1, 2, 0}}));
}

TEST(Starts, AResetMayBringATemperature) {
  VecEnv env = Counting(99, {.num_envs = 3, .temperature = 2});
  env.Reset({.temperature = at::tensor({3.0f, 4.0f, 5.0f})});
  EXPECT_EQ(Flat(env.Step(Longs({0, 0, 0})).surprise), (Numbers{3, 4, 5}));
  env.Reset({.mask = Mask({false, true, false}), .temperature = at::tensor({0.0f, 7.0f, -1.0f})});
  EXPECT_EQ(Flat(env.Step(Longs({0, 0, 0})).surprise), (Numbers{3, 7, 5}));
  env.Reset();
  EXPECT_EQ(Flat(env.Step(Longs({0, 0, 0})).surprise), (Numbers{3, 7, 5}));
}

TEST(Starts, WhatIsRefusedChangesNothing) {
  VecEnv env = Counting(99, {.num_envs = 2}), untouched = Counting(99, {.num_envs = 2});
  env.Reset();
  untouched.Reset();
  const Snapshot both = env.TakeSnapshot();
  const Snapshot three = env.TakeSnapshot(Longs({0, 1, 0}));
  const at::Tensor films = Films({{1, 2}, {3, 4}}), actions = Longs({0, 1}).view({2, 1});
  const std::pair<std::string, ResetOptions> refused[] = {
      {"frames: got uint8 [2, 2, 1, 1, 2], expected uint8 [2, any, 1, 1, 3]",
       {.frames = films.narrow(4, 0, 2), .actions = actions}},
      {"frames: got uint8 [1, 2, 1, 1, 3], expected uint8 [2, any, 1, 1, 3]",
       {.frames = films.narrow(0, 0, 1), .actions = actions}},
      {"frames: got uint8 [2, 1, 1, 3], expected uint8 [2, any, 1, 1, 3]",
       {.frames = Frames({1, 2}), .actions = actions}},
      {"frames: got none a row, expected one or more", {.frames = films.narrow(1, 0, 0)}},
      {"actions: got int64 [2, 0], expected int64 [2, 1]", {.frames = films}},
      {"actions: got int64 [2], expected int64 [2, 1]",
       {.frames = films, .actions = Longs({0, 1})}},
      {"action 3", {.frames = films, .actions = actions + 2}},
      {"actions: got them without the frames that they led to", {.actions = actions}},
      {"reset: got a snapshot and frames or actions, expected one thing to begin from",
       {.frames = films, .snapshot = both}},
      {"snapshot: it has 3 rows, expected 1 for all or one for each: 2", {.snapshot = three}},
      {"temperature: got float32 [1], expected float32 [2]", {.temperature = at::tensor({1.0f})}},
      {"temperature[1] is -1, expected a finite number above 0 that float32 can hold",
       {.temperature = at::tensor({1.0f, -1.0f})}},
  };
  for (const auto& [words, options] : refused) {
    EXPECT_EQ(TextOf<std::invalid_argument>([&] { env.Reset(options); }), words);
    const VecEnvStep step = env.Step(Longs({0, 1})), expected = untouched.Step(Longs({0, 1}));
    EXPECT_EQ(TableOf(step.observation), TableOf(expected.observation)) << words;
    EXPECT_EQ(Flat(step.surprise), Flat(expected.surprise)) << words;
  }
}

/// Counts the rows whose frames are decoded.
struct CountingFrames : CountingWorld {
  CountingFrames() : CountingWorld(99) {}
  at::Tensor Observe(const WorldState& state, const std::string& kind,
                     const std::optional<at::Tensor>& rows) const override {
    decoded += rows ? rows->numel() : state.rows();
    return CountingWorld::Observe(state, kind, rows);
  }
  mutable int64_t decoded = 0;
};

TEST(Starts, OnlyRowsThatChangeAreDecoded) {
  const auto world = std::make_shared<CountingFrames>();
  VecEnv env(world, {.num_envs = 4, .observation = "frame", .seed = 1});
  const auto decoded = [&](const auto& call) {
    world->decoded = 0;
    const at::Tensor observation = call();
    const Numbers all = Flat(
        world->CountingWorld::Observe(env.TakeSnapshot().parts().state, "frame", std::nullopt));
    EXPECT_EQ(Flat(observation), all);
    observation.fill_(77);  // what is returned is the caller's
    return world->decoded;
  };
  EXPECT_EQ(decoded([&] { return env.Reset({.frames = Frames({1, 2, 3, 4})}); }), 4);
  EXPECT_EQ(decoded([&] {
              return env.Reset(
                  {.mask = Mask({false, true, false, false}), .frames = Frames({9, 8, 9, 9})});
            }),
            1);
  EXPECT_EQ(decoded([&] { return env.Step(Longs({0, 1, 2, 0})).observation; }), 4);
  const Snapshot one = env.TakeSnapshot(Longs({2}));
  EXPECT_EQ(decoded([&] { return env.Reset({.mask = Mask({true, false, false, true})}); }), 2);
  EXPECT_EQ(decoded([&] { return env.Restore(one, Longs({1})); }), 1);
  EXPECT_EQ(decoded([&] { return env.Fork(2, Longs({0, 3})); }), 2);
  EXPECT_EQ(decoded([&] {
              return env.Follow(Longs({0, 0, 0, 0}), Frames({5, 6, 7, 8})).observation;
            }),
            4);
  env.Keep(Longs({3, 1}));
  EXPECT_EQ(decoded([&] { return env.Reset({.mask = Mask({false, true})}); }), 1);
}

TEST(Starts, WhatRunsBetweenFramesMayNotMoveTheEnvironment) {
  VecEnv env = Counting(99, {.num_envs = 1});
  env.Reset();
  ResetOptions film{.frames = Films({{1, 2}}), .actions = Longs({0}).view({1, 1})};
  film.between_frames = [&] { env.Step(Longs({0})); };
  EXPECT_EQ(TextOf<std::logic_error>([&] { env.Reset(film); }),
            "step: called by a function between the frames of a reset of this environment; call it "
            "when the reset is over");
  EXPECT_EQ(Flat(env.Step(Longs({0})).observation)[0], 1);
}

}  // namespace
}  // namespace genie_env
