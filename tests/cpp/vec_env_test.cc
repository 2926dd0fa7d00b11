#include "genie_env/env/vec_env.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include "counting_env.h"
#include "files.h"

namespace genie_env {
namespace {

using Failure = CountingWorld::Failure;

static_assert(!std::is_copy_constructible_v<VecEnv> &&
              std::is_nothrow_move_constructible_v<VecEnv>);

TEST(VecEnv, NextStepAutoresetStepByStep) {
  VecEnv env = Counting(2, {.num_envs = 2, .observation = "count", .max_episode_steps = 0});
  EXPECT_EQ(Flat(env.Reset()), (Numbers{0, 0}));
  EXPECT_EQ(Flat(env.Reset({.mask = Mask({false, true}), .frames = Frames({9, 1})})),
            (Numbers{0, 1}));

  struct Expected {
    Numbers observation, reward, terminated, began;
  };
  const Expected expected[] = {
      {{1, 2}, {1, 1}, {0, 1}, {0, 0}}, {{2, 0}, {1, 0}, {1, 0}, {0, 1}},
      {{0, 1}, {0, 1}, {0, 0}, {1, 0}}, {{1, 2}, {1, 1}, {0, 1}, {0, 0}},
      {{2, 0}, {1, 0}, {1, 0}, {0, 1}}, {{0, 1}, {0, 1}, {0, 0}, {1, 0}},
  };
  for (const Expected& e : expected) {
    const VecEnvStep step = env.Step(Longs({0, 0}));
    EXPECT_EQ(Flat(step.observation), e.observation);
    EXPECT_EQ(Flat(step.reward), e.reward);
    EXPECT_EQ(Flat(step.terminated), e.terminated);
    EXPECT_EQ(Flat(step.truncated), (Numbers{0, 0}));
    EXPECT_EQ(Flat(step.began), e.began);
  }
}

TEST(VecEnv, AWorldIsToldSeedEpisodeStepAndAction) {
  VecEnv env = Counting(2, {.num_envs = 2, .seed = 40});
  EXPECT_EQ(TableOf(env.Reset()), (Table{{0, 40, 0, 0, -1}, {0, 41, 0, 0, -1}}));
  EXPECT_EQ(TableOf(env.Step(Longs({2, 1})).observation),
            (Table{{1, 40, 0, 1, 2}, {1, 41, 0, 1, 1}}));
  EXPECT_EQ(TableOf(env.Step(Longs({0, 0})).observation),
            (Table{{2, 40, 0, 2, 0}, {2, 41, 0, 2, 0}}));
  // Both have ended: the next episode begins, and the actions are ignored, whatever they are.
  EXPECT_EQ(TableOf(env.Step(Longs({77, -5})).observation),
            (Table{{0, 40, 1, 0, -1}, {0, 41, 1, 0, -1}}));
  EXPECT_EQ(TableOf(env.Step(Longs({1, 2})).observation),
            (Table{{1, 40, 1, 1, 1}, {1, 41, 1, 1, 2}}));
}

TEST(VecEnv, ResetsTakeSeedsOrGoOnToTheNextEpisode) {
  VecEnv env = Counting(9, {.num_envs = 3});
  EXPECT_EQ(TableOf(env.Reset({.seeds = {{7, 7, 8}}})),
            (Table{{0, 7, 0, 0, -1}, {0, 7, 0, 0, -1}, {0, 8, 0, 0, -1}}));
  env.Step(Longs({1, 1, 1}));
  EXPECT_EQ(TableOf(env.Reset({.mask = Mask({true, false, true})})),
            (Table{{0, 7, 1, 0, -1}, {1, 7, 0, 1, 1}, {0, 8, 1, 0, -1}}));
  env.Step(Longs({0, 0, 0}));
  EXPECT_EQ(TableOf(env.Reset({.seeds = {{1, 2, 3}}, .mask = Mask({false, true, false})})),
            (Table{{1, 7, 1, 1, 0}, {0, 2, 0, 0, -1}, {1, 8, 1, 1, 0}}));
  EXPECT_EQ(TableOf(env.Reset()), (Table{{0, 7, 2, 0, -1}, {0, 2, 1, 0, -1}, {0, 8, 2, 0, -1}}));
}

TEST(VecEnv, RowsThatBeginLaterKeepTheirSeed) {
  VecEnv env = Counting(9, {.num_envs = 2, .seed = 40});
  env.Reset({.mask = Mask({true, false})});
  EXPECT_EQ(TableOf(env.Reset({.mask = Mask({false, true})})),
            (Table{{0, 40, 0, 0, -1}, {0, 41, 0, 0, -1}}));
}

TEST(VecEnv, WithoutASeedTheSystemGivesOne) {
  const auto world = std::make_shared<CountingWorld>(9);
  VecEnv one(world, {});
  VecEnv other(world, {});
  EXPECT_NE(Flat(one.Reset())[1], Flat(other.Reset())[1]);
  VecEnv again(world, {.seed = one.options().seed});
  EXPECT_EQ(Flat(again.Reset()), Flat(one.Reset({.seeds = {{*one.options().seed}}})));
}

TEST(VecEnv, DisabledAutoresetAsksForAReset) {
  VecEnv env = Counting(
      2, {.num_envs = 3, .observation = "count", .autoreset_mode = AutoresetMode::kDisabled});
  env.Reset({.frames = Frames({0, 1, 0})});
  EXPECT_EQ(Flat(env.Step(Longs({0, 0, 0})).terminated), (Numbers{0, 1, 0}));
  EXPECT_EQ(TextOf<ResetNeeded>([&] {
              env.Step(Longs({0, 0, 0}));
            }),
            "step: row 1 has ended, and autoreset is disabled; reset it first");
  EXPECT_EQ(Flat(env.Reset({.mask = Mask({false, true, false})})), (Numbers{1, 0, 1}));
  const VecEnvStep step = env.Step(Longs({0, 0, 0}));
  EXPECT_EQ(Flat(step.observation), (Numbers{2, 1, 2}));
  EXPECT_EQ(Flat(step.began), (Numbers{0, 0, 0}));
  EXPECT_EQ(TextOf<ResetNeeded>([&] {
              env.Step(Longs({0, 0, 0}));
            }),
            "step: rows 0 and 2 have ended, and autoreset is disabled; reset them first");
}

TEST(VecEnv, ATimeLimitTruncatesAndNeverTerminates) {
  VecEnv env(std::make_shared<CountingWorld>(3, /*max_episode_steps=*/2),
             {.num_envs = 2, .observation = "count"});
  env.Reset({.frames = Frames({0, 1})});
  VecEnvStep step = env.Step(Longs({0, 0}));
  EXPECT_EQ(Flat(step.truncated), (Numbers{0, 0}));
  step = env.Step(Longs({0, 0}));
  EXPECT_EQ(Flat(step.observation), (Numbers{2, 3}));
  EXPECT_EQ(Flat(step.terminated), (Numbers{0, 1}));  // both at once are both reported
  EXPECT_EQ(Flat(step.truncated), (Numbers{1, 1}));
  step = env.Step(Longs({0, 0}));
  EXPECT_EQ(Flat(step.observation), (Numbers{0, 0}));
  EXPECT_EQ(Flat(step.truncated), (Numbers{0, 0}));
  EXPECT_EQ(Flat(step.began), (Numbers{1, 1}));
}

TEST(VecEnv, ALimitOfItsOwnReplacesTheWorlds) {
  const auto world = std::make_shared<CountingWorld>(99, /*max_episode_steps=*/2);
  VecEnv unlimited(world, {.max_episode_steps = 0});
  VecEnv limited(world, {.max_episode_steps = 3});
  unlimited.Reset();
  limited.Reset();
  Numbers truncated;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Flat(unlimited.Step(Longs({0})).truncated), Numbers{0});
    truncated.push_back(Flat(limited.Step(Longs({0})).truncated)[0]);
  }
  EXPECT_EQ(truncated, (Numbers{0, 0, 1}));
}

TEST(VecEnv, TemperatureIsARows) {
  VecEnv env = Counting(2, {.num_envs = 2, .temperature = 3});
  env.Reset({.frames = Frames({0, 1})});
  EXPECT_EQ(Flat(env.Step(Longs({0, 0})).surprise), (Numbers{3, 3}));  // this world's surprise
  at::Tensor temperature = at::tensor({5.0f, 7.0f});
  env.SetTemperature(temperature);
  temperature.fill_(1);  // the caller's tensor stays the caller's
  EXPECT_EQ(Flat(env.Step(Longs({0, 0})).surprise), (Numbers{5, 0}));  // row 1 began
  env.Keep(Longs({1}));
  EXPECT_EQ(Flat(env.Step(Longs({0})).surprise), (Numbers{7}));
}

TEST(VecEnv, TheWorldsTerminationProbabilityComesWithTheStep) {
  const auto eighths = [](const VecEnvStep& step) {
    return Flat(step.termination_probability * 8);
  };
  VecEnv env = Counting(2, {.num_envs = 2});
  env.Reset({.frames = Frames({0, 1})});
  EXPECT_EQ(eighths(env.Step(Longs({0, 0}))), (Numbers{1, 2}));
  EXPECT_EQ(eighths(env.Step(Longs({0, 0}))), (Numbers{2, 0}));  // row 1 began
  env.Reset();
  EXPECT_EQ(eighths(env.Follow(Longs({0, 0}), Frames({4, 8}))), (Numbers{4, 8}));

  VecEnv same = Counting(1, {.num_envs = 1, .autoreset_mode = AutoresetMode::kSameStep});
  same.Reset();
  EXPECT_EQ(eighths(same.Step(Longs({0}))), (Numbers{1}));  // of the episode that ended

  const auto never = [](const at::Tensor& observation, const at::Tensor&, const at::Tensor&) {
    return at::zeros({observation.size(0)}, at::kBool);
  };
  VecEnv decided = Counting(2, {.num_envs = 1, .termination_fn = never});
  decided.Reset();
  EXPECT_FALSE(decided.Step(Longs({0})).termination_probability.defined());
  EXPECT_FALSE(decided.Follow(Longs({0}), Frames({2})).termination_probability.defined());
}

TEST(VecEnv, KeepGoesOnWithTheGivenRowsAlone) {
  VecEnv env = Counting(3, {.num_envs = 4, .seed = 40});
  env.Reset({.frames = Frames({0, 1, 0, 2})});
  env.Step(Longs({0, 1, 2, 0}));  // row 3 ends
  env.Keep(Longs({3, 1}));
  EXPECT_EQ(env.num_envs(), 2);
  EXPECT_EQ(env.options().num_envs, 4);
  const VecEnvStep step = env.Step(Longs({1, 2}));
  EXPECT_EQ(TableOf(step.observation), (Table{{0, 43, 1, 0, -1}, {3, 41, 0, 2, 2}}));
  EXPECT_EQ(Flat(step.began), (Numbers{1, 0}));
  EXPECT_EQ(Flat(step.terminated), (Numbers{0, 1}));
  EXPECT_EQ(TableOf(env.Reset({.seeds = {{1, 2}}})), (Table{{0, 1, 0, 0, -1}, {0, 2, 0, 0, -1}}));
}

TEST(VecEnv, EveryRowMayBeDropped) {
  VecEnv env = Counting(3, {.num_envs = 2});
  env.Reset();
  env.Keep(Longs({}));
  EXPECT_EQ(env.num_envs(), 0);
  EXPECT_EQ(TextOf<std::logic_error>([&] { env.Step(Longs({})); }),
            "step: no row is left, Keep dropped the last; make another one");
}

TEST(VecEnv, FollowTakesFramesAndEndsNothing) {
  VecEnv env = Counting(2, {.num_envs = 2, .max_episode_steps = 2});
  env.Reset({.seeds = {{5, 6}}});
  VecEnvStep step = env.Follow(Longs({2, 1}), Frames({2, 30}));
  EXPECT_EQ(TableOf(step.observation), (Table{{2, 5, 0, 1, 2}, {30, 6, 0, 1, 1}}));
  EXPECT_EQ(Flat(step.terminated), (Numbers{1, 0}));
  EXPECT_EQ(Flat(step.surprise), (Numbers{100, 100}));
  step = env.Follow(Longs({0, 0}), Frames({3, 31}));
  EXPECT_EQ(TableOf(step.observation), (Table{{3, 5, 0, 2, 0}, {31, 6, 0, 2, 0}}));
  EXPECT_EQ(Flat(step.truncated), (Numbers{0, 0}));
  // The dream goes on from there; followed frames count towards its time limit.
  step = env.Step(Longs({1, 1}));
  EXPECT_EQ(TableOf(step.observation), (Table{{4, 5, 0, 3, 1}, {32, 6, 0, 3, 1}}));
  EXPECT_EQ(Flat(step.truncated), (Numbers{1, 1}));
}

TEST(VecEnv, FollowRefusesARowThatAStepHasEnded) {
  for (const AutoresetMode mode : {AutoresetMode::kNextStep, AutoresetMode::kDisabled}) {
    VecEnv env = Counting(2, {.num_envs = 2, .observation = "count", .autoreset_mode = mode});
    env.Reset({.frames = Frames({0, 1})});
    EXPECT_EQ(Flat(env.Step(Longs({0, 0})).terminated), (Numbers{0, 1}));
    EXPECT_EQ(TextOf<ResetNeeded>([&] {
                env.Follow(Longs({0, 0}), Frames({7, 7}));
              }),
              "follow: row 1 has ended, and following resets no row; reset it first");
    EXPECT_EQ(Flat(env.Render()), (Numbers{1, 1, 1, 2, 2, 2}));  // as it was
    env.Reset({.mask = Mask({false, true})});
    EXPECT_EQ(Flat(env.Follow(Longs({0, 0}), Frames({7, 8})).observation), (Numbers{7, 8}));
  }
}

TEST(VecEnv, RendersTheRowsAskedFor) {
  VecEnv env = Counting(9, {.num_envs = 3});
  env.Reset({.frames = Frames({4, 5, 6})});
  EXPECT_EQ(TableOf(env.Render()), (Table{{4, 4, 4}, {5, 5, 5}, {6, 6, 6}}));
  EXPECT_EQ(TableOf(env.Render(Longs({2, 0, 2}))), (Table{{6, 6, 6}, {4, 4, 4}, {6, 6, 6}}));
  EXPECT_EQ(env.Render(Longs({})).size(0), 0);
}

TEST(VecEnv, OptionsHaveEveryDefaultFilledIn) {
  const auto world = std::make_shared<CountingWorld>(9, 2100);
  const VecEnv env(world, {});
  EXPECT_EQ(env.options().num_envs, 1);
  EXPECT_EQ(env.options().observation, "told");
  EXPECT_EQ(env.options().temperature, 1.5);
  EXPECT_EQ(env.options().autoreset_mode, AutoresetMode::kNextStep);
  EXPECT_EQ(env.options().max_episode_steps, 2100);
  EXPECT_TRUE(env.options().seed.has_value());
  EXPECT_EQ(&env.world(), world.get());
}

TEST(VecEnv, RefusesOptionsThatCannotBe) {
  const auto words = [](VecEnvOptions options) {
    return TextOf<std::invalid_argument>(
        [&] { VecEnv(std::make_shared<CountingWorld>(9), options); });
  };
  EXPECT_EQ(words({.num_envs = 0}), "num_envs is 0, expected 1 or more");
  EXPECT_EQ(words({.observation = "pixels"}),
            "observation is \"pixels\", but the world \"counting\" has told, count, frame");
  for (const auto& [temperature, text] : {std::pair{0.0, "0"},
                                          {-2.5, "-2.5"},
                                          {1e-60, "1e-60"},
                                          {1e-40, "1e-40"},
                                          {1e39, "1e+39"},
                                          {std::numeric_limits<double>::infinity(), "inf"},
                                          {std::nan(""), "nan"}}) {
    EXPECT_EQ(words({.temperature = temperature}),
              "temperature is " + std::string(text) +
                  ", expected a finite number above 0 that float32 can hold");
  }
  EXPECT_EQ(words({.max_episode_steps = -1}),
            "max_episode_steps is -1, expected 1 or more, or 0 for no limit");
  EXPECT_EQ(TextOf<std::invalid_argument>([] { VecEnv(nullptr); }),
            "world is null, expected a loaded world");
}

TEST(VecEnv, BadInputLeavesTheEnvironmentAsItWas) {
  VecEnv env = Counting(3, {.num_envs = 2});
  VecEnv untouched = Counting(3, {.num_envs = 2});
  EXPECT_EQ(TextOf<ResetNeeded>([&] {
              env.Step(Longs({0, 0}));
            }),
            "step before reset: rows 0 and 1 have no episode; reset first");
  EXPECT_EQ(TextOf<ResetNeeded>([&] {
              env.Follow(Longs({0, 0}), Frames({0, 0}));
            }),
            "follow before reset: rows 0 and 1 have no episode; reset first");
  EXPECT_EQ(TextOf<ResetNeeded>([&] { env.Render(); }),
            "render before reset: rows 0 and 1 have no episode; reset first");
  env.Reset({.mask = Mask({true, false})});
  untouched.Reset({.mask = Mask({true, false})});
  EXPECT_EQ(TextOf<ResetNeeded>([&] {
              env.Step(Longs({0, 0}));
            }),
            "step before reset: row 1 has no episode; reset first");
  env.Render(Longs({0}));
  env.Reset();
  untouched.Reset();

  const struct {
    std::string words;
    std::function<void()> call;
  } refused[] = {
      {"actions: got int64 [3], expected int64 [2]",
       [&] {
         env.Step(Longs({0, 0, 0}));
       }},
      {"actions: got int64 [2, 1], expected int64 [2]",
       [&] {
         env.Step(Longs({0, 0}).view({2, 1}));
       }},
      {"actions: got float32 [2], expected int64 [2]",
       [&] { env.Step(at::zeros({2}, at::kFloat)); }},
      {"actions: got no tensor, expected int64 [2]", [&] { env.Step({}); }},
      {"action 3",
       [&] {
         env.Step(Longs({0, 3}));
       }},
      {"actions: got int64 [1], expected int64 [2]",
       [&] {
         env.Follow(Longs({0}), Frames({0, 0}));
       }},
      {"frames of another shape",
       [&] {
         env.Follow(Longs({0, 0}), Frames({0}));
       }},
      {"frames of another shape", [&] { env.Reset({.frames = Frames({0})}); }},
      {"reset mask: got bool [3], expected bool [2]",
       [&] {
         env.Reset({.mask = Mask({true, true, true})});
       }},
      {"reset mask: got int64 [2], expected bool [2]",
       [&] {
         env.Reset({.mask = Longs({1, 1})});
       }},
      {"reset mask: no row is true, expected at least one to reset",
       [&] {
         env.Reset({.mask = Mask({false, false})});
       }},
      {"seeds: got 1, expected one a row: 2", [&] { env.Reset({.seeds = {{1}}}); }},
      {"rows[0] is 2: there are 2 rows, numbered from 0", [&] { env.Render(Longs({2})); }},
      {"rows[0] is -1: there are 2 rows, numbered from 0", [&] { env.Keep(Longs({-1})); }},
      {"rows: got 1 twice, expected rows without repeats",
       [&] {
         env.Keep(Longs({1, 0, 1}));
       }},
      {"rows: got bool [2], expected int64 [2]",
       [&] {
         env.Keep(Mask({true, false}));
       }},
      {"temperature: got float32 [1], expected float32 [2]",
       [&] { env.SetTemperature(at::full({1}, 2.0f)); }},
      {"temperature is -2, expected a finite number above 0 that float32 can hold",
       [&] {
         env.SetTemperature(at::tensor({1.0f, -2.0f}));
       }},
      {"temperature is nan, expected a finite number above 0 that float32 can hold",
       [&] { env.SetTemperature(at::full({2}, std::nanf(""))); }},
  };
  for (const auto& [words, call] : refused) {
    EXPECT_EQ(TextOf<std::invalid_argument>(call), words);
    const VecEnvStep step = env.Step(Longs({0, 1}));
    const VecEnvStep expected = untouched.Step(Longs({0, 1}));
    EXPECT_EQ(TableOf(step.observation), TableOf(expected.observation)) << words;
    EXPECT_EQ(Flat(step.surprise), Flat(expected.surprise)) << words;
  }
}

TEST(VecEnv, AfterAFailureItAsksForAReset) {
  const auto world = std::make_shared<CountingWorld>(2);
  for (const Failure failure : {Failure::kStep, Failure::kBegin, Failure::kObserve}) {
    VecEnv env(world, {.num_envs = 2, .seed = 40});
    env.Reset();
    env.Step(Longs({0, 0}));
    env.Step(Longs({0, 0}));  // both end, so that the next step calls Begin too
    world->FailIn(failure);
    EXPECT_EQ(TextOf<std::runtime_error>([&] { env.Step(Longs({0, 0})); }), "the machine failed");
    world->FailIn(Failure::kNone);
    EXPECT_EQ(TextOf<ResetNeeded>([&] {
                env.Step(Longs({0, 0}));
              }),
              "step after a call that failed: rows 0 and 1 have no episode; reset first");
    env.Reset({.mask = Mask({true, false})});
    EXPECT_EQ(TextOf<ResetNeeded>([&] {
                env.Step(Longs({0, 0}));
              }),
              "step after a call that failed: row 1 has no episode; reset first");
    env.Reset({.seeds = {{5, 5}}});
    EXPECT_EQ(TableOf(env.Step(Longs({0, 1})).observation),
              (Table{{1, 5, 0, 1, 0}, {1, 5, 0, 1, 1}}));
  }
}

TEST(VecEnv, AFirstResetThatFailedIsMadeGood) {
  const auto world = std::make_shared<CountingWorld>(2);
  VecEnv env(world, {.seed = 40});
  world->FailIn(Failure::kBegin);
  EXPECT_EQ(TextOf<std::runtime_error>([&] { env.Reset(); }), "the machine failed");
  world->FailIn(Failure::kNone);
  EXPECT_EQ(TableOf(env.Reset()), (Table{{0, 40, 0, 0, -1}}));
}

TEST(VecEnv, ManyRowsAreNamedInShort) {
  VecEnv env = Counting(9, {.num_envs = 5});
  EXPECT_EQ(TextOf<ResetNeeded>([&] {
              env.Render(Longs({4, 2, 1}));
            }),
            "render before reset: rows 4, 2 and 1 more have no episode; reset first");
  EXPECT_EQ(TextOf<ResetNeeded>([&] { env.Render(); }),
            "render before reset: rows 0, 1 and 3 more have no episode; reset first");
}

TEST(VecEnv, AnEnvironmentCanBeMoved) {
  VecEnv first = Counting(9, {.num_envs = 2});
  first.Reset();
  VecEnv second = std::move(first);
  second.Step(Longs({0, 0}));
  first = std::move(second);
  EXPECT_EQ(Flat(first.Step(Longs({0, 0})).observation)[0], 2);
}

TEST(VecEnv, WhatItReturnsIsPlainAndFreshWhateverTheModeOfTheCaller) {
  std::vector<at::Tensor> given;
  const auto collect = [&](const VecEnvStep& step) {
    given.insert(given.end(), {step.observation, step.reward, step.terminated, step.truncated,
                               step.surprise, step.began});
  };
  std::optional<VecEnv> env;
  {
    const c10::InferenceMode inference;
    env = Counting(2, {.num_envs = 2});
    given.push_back(env->Reset());
  }
  collect(env->Step(Longs({0, 0})));
  collect(env->Step(Longs({0, 0})));
  {
    const c10::InferenceMode inference;
    collect(env->Step(Longs({0, 0})));
    collect(env->Follow(Longs({0, 0}), Frames({1, 1})));
  }
  EXPECT_TRUE(c10::GradMode::is_enabled());
  std::vector<at::Tensor> copies;
  for (const at::Tensor& tensor : given) {
    EXPECT_FALSE(tensor.is_inference());
    EXPECT_FALSE(tensor.requires_grad());
    copies.push_back(tensor.clone());
  }
  for (int i = 0; i < 4; ++i) env->Step(Longs({0, 0}));
  for (size_t i = 0; i < given.size(); ++i) EXPECT_TRUE(at::equal(given[i], copies[i]));
}

}  // namespace
}  // namespace genie_env
