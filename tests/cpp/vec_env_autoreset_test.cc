// What happens where an episode ends, step by step in small integers.
#include <gtest/gtest.h>

#include "counting_env.h"
#include "files.h"

namespace genie_env {
namespace {

/// One step as whole numbers; what it left undefined is empty.
struct Seen {
  Numbers observation, reward, terminated, truncated, began, final_observation;
  bool operator==(const Seen&) const = default;
};

Seen See(const VecEnvStep& step) {
  return {Flat(step.observation),
          Flat(step.reward),
          Flat(step.terminated),
          Flat(step.truncated),
          Flat(step.began),
          step.final_observation.defined() ? Flat(step.final_observation) : Numbers{}};
}

VecEnv Begun(AutoresetMode mode, int64_t ends_at, int64_t limit, const std::vector<uint8_t>& from) {
  VecEnv env = Counting(ends_at, {.num_envs = static_cast<int64_t>(from.size()),
                                  .observation = "count",
                                  .autoreset_mode = mode,
                                  .max_episode_steps = limit});
  env.Reset({.frames = Frames(from)});
  return env;
}

TEST(Autoreset, InTheNextStep) {
  VecEnv env = Begun(AutoresetMode::kNextStep, 2, 0, {0, 1});
  for (int episode = 0; episode < 2; ++episode) {
    EXPECT_EQ(See(env.Step(Longs({0, 0}))), (Seen{{1, 2}, {1, 1}, {0, 1}, {0, 0}, {0, 0}, {}}));
    EXPECT_EQ(See(env.Step(Longs({0, 9}))), (Seen{{2, 0}, {1, 0}, {1, 0}, {0, 0}, {0, 1}, {}}));
    EXPECT_EQ(See(env.Step(Longs({9, 0}))), (Seen{{0, 1}, {0, 1}, {0, 0}, {0, 0}, {1, 0}, {}}));
  }
}

TEST(Autoreset, InTheSameStep) {
  VecEnv env = Begun(AutoresetMode::kSameStep, 2, 0, {0, 1});
  EXPECT_EQ(See(env.Step(Longs({0, 0}))), (Seen{{1, 0}, {1, 1}, {0, 1}, {0, 0}, {0, 1}, {1, 2}}));
  EXPECT_EQ(See(env.Step(Longs({0, 0}))), (Seen{{0, 1}, {1, 1}, {1, 0}, {0, 0}, {1, 0}, {2, 1}}));
  EXPECT_EQ(See(env.Step(Longs({0, 0}))), (Seen{{1, 0}, {1, 1}, {0, 1}, {0, 0}, {0, 1}, {1, 2}}));
  env.Reset();
  EXPECT_EQ(See(env.Step(Longs({0, 0}))), (Seen{{1, 1}, {1, 1}, {0, 0}, {0, 0}, {0, 0}, {}}));
}

TEST(Autoreset, InTheSameStepTheScoresAreOfTheEpisodeThatEnded) {
  VecEnv env = Counting(2, {.num_envs = 2,
                            .temperature = 3,
                            .autoreset_mode = AutoresetMode::kSameStep,
                            .latent_distance = true});
  env.Reset({.frames = Frames({0, 1})});
  const VecEnvStep step = env.Step(Longs({0, 0}));
  EXPECT_EQ(Flat(step.surprise), (Numbers{3, 3}));
  EXPECT_EQ(Flat(step.latent_distance), (Numbers{1, 2}));
}

TEST(Autoreset, InTheSameStepCountersGoOnToTheNextEpisode) {
  VecEnv env = Counting(2, {.num_envs = 2, .autoreset_mode = AutoresetMode::kSameStep, .seed = 40});
  env.Reset();
  env.Step(Longs({1, 2}));
  const VecEnvStep step = env.Step(Longs({0, 1}));
  EXPECT_EQ(TableOf(step.final_observation), (Table{{2, 40, 0, 2, 0}, {2, 41, 0, 2, 1}}));
  EXPECT_EQ(TableOf(step.observation), (Table{{0, 40, 1, 0, -1}, {0, 41, 1, 0, -1}}));
  step.final_observation.fill_(99);
  EXPECT_EQ(TableOf(step.observation), (Table{{0, 40, 1, 0, -1}, {0, 41, 1, 0, -1}}));
  EXPECT_EQ(TableOf(env.Step(Longs({2, 2})).observation),
            (Table{{1, 40, 1, 1, 2}, {1, 41, 1, 1, 2}}));
}

TEST(Autoreset, NotAtAll) {
  VecEnv env = Begun(AutoresetMode::kDisabled, 2, 0, {0, 1});
  EXPECT_EQ(See(env.Step(Longs({0, 0}))), (Seen{{1, 2}, {1, 1}, {0, 1}, {0, 0}, {0, 0}, {}}));
  EXPECT_EQ(TextOf<ResetNeeded>([&] {
              env.Step(Longs({0, 0}));
            }),
            "step: row 1 has ended, and autoreset is disabled; reset it first");
  EXPECT_EQ(Flat(env.Reset({.mask = Mask({false, true})})), (Numbers{1, 0}));
  EXPECT_EQ(See(env.Step(Longs({0, 0}))), (Seen{{2, 1}, {1, 1}, {1, 0}, {0, 0}, {0, 0}, {}}));
}

TEST(Autoreset, ATimeLimitTruncatesAndBothEndsAtOnceAreBothReported) {
  for (const AutoresetMode mode :
       {AutoresetMode::kNextStep, AutoresetMode::kSameStep, AutoresetMode::kDisabled}) {
    VecEnv env = Begun(mode, /*ends_at=*/3, /*limit=*/2, {0, 1});
    EXPECT_EQ(Flat(env.Step(Longs({0, 0})).truncated), (Numbers{0, 0}));
    const Seen seen = See(env.Step(Longs({0, 0})));
    EXPECT_EQ(seen.terminated, (Numbers{0, 1}));
    EXPECT_EQ(seen.truncated, (Numbers{1, 1}));
    const bool same = mode == AutoresetMode::kSameStep;
    EXPECT_EQ(seen.observation, (same ? Numbers{0, 0} : Numbers{2, 3}));
    EXPECT_EQ(seen.final_observation, (same ? Numbers{2, 3} : Numbers{}));
  }
}

TEST(Autoreset, AMaskedResetComesAtAnyTime) {
  for (const AutoresetMode mode : {AutoresetMode::kNextStep, AutoresetMode::kSameStep}) {
    VecEnv env = Begun(mode, 9, 3, {0, 0, 0});
    env.Step(Longs({0, 0, 0}));
    EXPECT_EQ(Flat(env.Reset({.mask = Mask({false, true, false})})), (Numbers{1, 0, 1}));
    env.Step(Longs({0, 0, 0}));
    EXPECT_EQ(Flat(env.Reset({.mask = Mask({false, false, true})})), (Numbers{2, 1, 0}));
    EXPECT_EQ(Flat(env.Step(Longs({0, 0, 0})).truncated), (Numbers{1, 0, 0}));
    // A row that waits for its reset may be reset by hand; then its action counts again.
    env.Reset({.mask = Mask({true, false, false})});
    const Seen seen = See(env.Step(Longs({0, 0, 0})));
    EXPECT_EQ(seen.truncated, (Numbers{0, 1, 0}));
    EXPECT_EQ(seen.observation[0], 1);
  }
}

}  // namespace
}  // namespace genie_env
