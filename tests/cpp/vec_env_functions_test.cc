// Reward and termination of the user's own, and limits beside that of time.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "counting_env.h"
#include "files.h"

namespace genie_env {
namespace {

/// 100 * count before + 10 * action + count after.
at::Tensor Told(const at::Tensor& before, const at::Tensor& action, const at::Tensor& after) {
  return (100 * before.select(1, 0) + 10 * action + after.select(1, 0)).to(at::kFloat);
}

at::Tensor AtThree(const at::Tensor&, const at::Tensor&, const at::Tensor& after) {
  return after.select(1, 0) == 3;
}

TEST(StepFunctions, TakeThePlaceOfTheWorlds) {
  VecEnv env = Counting(2, {.num_envs = 2, .reward_fn = Told, .termination_fn = AtThree});
  env.Reset({.frames = Frames({0, 1})});
  VecEnvStep step = env.Step(Longs({1, 2}));
  EXPECT_EQ(Flat(step.reward), (Numbers{11, 122}));
  EXPECT_EQ(Flat(step.terminated), (Numbers{0, 0}));  // the world would end row 1
  step = env.Step(Longs({0, 1}));
  EXPECT_EQ(Flat(step.reward), (Numbers{102, 213}));
  EXPECT_EQ(Flat(step.terminated), (Numbers{0, 1}));
  step = env.Step(Longs({0, 77}));  // row 1 begins: what they say of it is ignored
  EXPECT_EQ(Flat(step.reward), (Numbers{203, 0}));
  EXPECT_EQ(Flat(step.terminated), (Numbers{1, 0}));
  EXPECT_EQ(Flat(step.began), (Numbers{0, 1}));
}

TEST(StepFunctions, InTheSameStepSeeTheFinalObservation) {
  VecEnv env = Counting(2, {.num_envs = 2,
                            .autoreset_mode = AutoresetMode::kSameStep,
                            .reward_fn = Told,
                            .termination_fn = AtThree});
  env.Reset({.frames = Frames({0, 2})});
  const VecEnvStep step = env.Step(Longs({1, 2}));
  EXPECT_EQ(Flat(step.reward), (Numbers{11, 223}));
  EXPECT_EQ(Flat(step.began), (Numbers{0, 1}));
}

TEST(StepFunctions, JudgeFollowedFramesToo) {
  VecEnv env = Counting(2, {.num_envs = 2, .reward_fn = Told, .termination_fn = AtThree});
  env.Reset();
  const VecEnvStep step = env.Follow(Longs({1, 2}), Frames({9, 3}));
  EXPECT_EQ(Flat(step.reward), (Numbers{19, 23}));
  EXPECT_EQ(Flat(step.terminated), (Numbers{0, 1}));
}

struct Mine {
  int number;
};

TEST(StepFunctions, WhatTheyThrowArrivesAndTheStepHasNotHappened) {
  bool fails = false;
  VecEnvOptions options{.num_envs = 2, .autoreset_mode = AutoresetMode::kNextStep};
  options.termination_fn = AtThree;
  VecEnv untouched = Counting(9, options);
  options.termination_fn = [&](const at::Tensor& before, const at::Tensor& action,
                               const at::Tensor& after) {
    if (fails) throw Mine{42};
    return AtThree(before, action, after);
  };
  VecEnv env = Counting(9, options);
  env.Reset();
  untouched.Reset();
  for (int i = 0; i < 9; ++i) {  // rows end, begin and go on
    const at::Tensor actions = Longs({i % 3, 2});
    fails = true;
    try {
      i % 2 == 0 ? env.Step(actions) : env.Step(Longs({0, 0}));
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Mine& mine) {
      EXPECT_EQ(mine.number, 42);
    }
    fails = false;
    const VecEnvStep step = env.Step(actions), expected = untouched.Step(actions);
    EXPECT_EQ(TableOf(step.observation), TableOf(expected.observation));
    EXPECT_EQ(Flat(step.terminated), Flat(expected.terminated));
    EXPECT_EQ(Flat(step.began), Flat(expected.began));
  }
  env.Reset();
  fails = true;
  EXPECT_THROW(env.Follow(Longs({0, 0}), Frames({7, 7})), Mine);
  EXPECT_EQ(Flat(env.Render()), Numbers(6, 0));
}

TEST(StepFunctions, AnswersAreChecked) {
  at::Tensor answer;
  const auto mine = [&](const at::Tensor&, const at::Tensor&, const at::Tensor&) { return answer; };
  VecEnv env = Counting(9, {.num_envs = 2, .observation = "count", .reward_fn = mine});
  env.Reset();
  const auto words = [&](const at::Tensor& given) {
    answer = given;
    return TextOf<std::invalid_argument>([&] { env.Step(Longs({0, 0})); });
  };
  EXPECT_EQ(words({}), "what reward_fn gave: got no tensor, expected float32 [2]");
  EXPECT_EQ(words(Longs({0, 0})), "what reward_fn gave: got int64 [2], expected float32 [2]");
  EXPECT_EQ(words(at::zeros({2, 1})),
            "what reward_fn gave: got float32 [2, 1], expected float32 [2]");
  answer = at::tensor({4.0f, 5.0f});
  const VecEnvStep step = env.Step(Longs({0, 0}));
  answer.fill_(9);  // what they gave stays theirs
  EXPECT_EQ(Flat(step.reward), (Numbers{4, 5}));
  EXPECT_EQ(Flat(step.observation), (Numbers{1, 1}));  // no refused step has happened
}

TEST(StepFunctions, MayWriteToWhatTheyAreGiven) {
  const auto scribble = [](bool termination) {
    return [=](const at::Tensor& before, const at::Tensor& action, const at::Tensor& after) {
      const at::Tensor answer = Told(before, action, after);
      before.fill_(7);
      action.fill_(7);
      after.fill_(7);
      return termination ? answer > 1e6 : answer;
    };
  };
  VecEnvOptions options{.num_envs = 2};
  VecEnv clean = Counting(9, options);
  options.reward_fn = scribble(false);
  options.termination_fn = scribble(true);
  VecEnv env = Counting(9, options);
  env.Reset();
  clean.Reset();
  for (int64_t i = 0; i < 3; ++i) {
    const at::Tensor actions = Longs({1, 2});
    const VecEnvStep step = env.Step(actions), expected = clean.Step(actions);
    EXPECT_EQ(TableOf(step.observation), TableOf(expected.observation));
    EXPECT_EQ(Flat(step.reward), (Numbers{101 * i + 11, 101 * i + 21}));
    EXPECT_EQ(Flat(step.terminated), (Numbers{0, 0}));
    EXPECT_EQ(Flat(actions), (Numbers{1, 2}));
  }
}

TEST(StepFunctions, RewardsAreFinite) {
  at::Tensor answer;
  VecEnv env = Counting(2, {.num_envs = 4, .reward_fn = [&](const auto&...) { return answer; }});
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  env.Reset({.frames = Frames({1, 0, 0, 0})});
  const auto words = [&](const std::vector<float>& values) {
    answer = at::tensor(values);
    return TextOf<std::invalid_argument>([&] { env.Step(Longs({0, 0, 0, 0})); });
  };
  EXPECT_EQ(words({0, nan, 0, 0}), "what reward_fn gave: nan in row 1, expected finite numbers");
  EXPECT_EQ(words({0, 0, -inf, nan}),
            "what reward_fn gave: -inf in rows 2 and 3, expected finite numbers");
  answer = at::tensor({1.0f, 2.0f, 3.0f, 4.0f});
  EXPECT_EQ(Flat(env.Step(Longs({0, 0, 0, 0})).terminated), (Numbers{1, 0, 0, 0}));
  answer = at::tensor({nan, 2.0f, 3.0f, 4.0f});  // row 0 begins
  EXPECT_EQ(Flat(env.Step(Longs({0, 0, 0, 0})).reward), (Numbers{0, 2, 3, 4}));
}

/// Overflows in row 1 at every second step, and where it begins.
struct Overflowing : CountingWorld {
  using CountingWorld::CountingWorld;
  WorldStep Step(WorldState& state, const at::Tensor& actions, const at::Tensor& temperature,
                 const RowCounters& rng, const WantedObservation& observation) const override {
    WorldStep step = CountingWorld::Step(state, actions, temperature, rng, observation);
    if (rng[1].step % 2 == 0) step.surprise.mutable_data_ptr<float>()[1] = std::nanf("");
    return step;
  }
};

TEST(Overflow, OfAStateIsAnErrorThatNamesTheRow) {
  const std::string words =
      "step: the state of row 1 is no longer finite (surprise nan): the weights of the world "
      "\"counting\" overflow in ; load it with dtype \"float32\", or train and freeze it again";
  VecEnv env(std::make_shared<Overflowing>(9), {.num_envs = 2});
  env.Reset();
  env.Step(Longs({0, 0}));
  const auto step = [&] { env.Step(Longs({0, 0})); };
  EXPECT_EQ(TextOf<std::runtime_error>(step), words);
  EXPECT_THROW(step(), ResetNeeded);
  env.Reset();
  EXPECT_NO_THROW(step());
  // Of a row that begins in this step nothing matters.
  VecEnv begins(std::make_shared<Overflowing>(1), {.num_envs = 2});
  begins.Reset();
  for (int i = 0; i < 4; ++i) EXPECT_NO_THROW(begins.Step(Longs({0, 0})));
}

TEST(StepFunctions, MayLookButNotMoveTheEnvironment) {
  std::optional<VecEnv> env;
  std::function<void()> call = [] {};
  env = Counting(9, {.num_envs = 2,
                     .reward_fn = [&](const at::Tensor& before, const at::Tensor& action,
                                      const at::Tensor& after) {
                       call();
                       return Told(before, action, after);
                     }});
  env->Reset();
  call = [&] { EXPECT_EQ(Flat(env->Render()), Numbers(6, 1)); };
  env->Step(Longs({0, 0}));
  const std::pair<const char*, std::function<void()>> moves[] = {
      {"reset", [&] { env->Reset(); }},
      {"step",
       [&] {
         env->Step(Longs({0, 0}));
       }},
      {"keep", [&] { env->Keep(Longs({0})); }},
      {"set_temperature",
       [&] {
         env->SetTemperature(at::tensor({1.0f, 1.0f}));
       }},
      {"snapshot", [&] { env->TakeSnapshot(); }}};
  for (const auto& [name, move] : moves) {
    call = move;
    EXPECT_EQ(TextOf<std::logic_error>([&] {
                env->Step(Longs({0, 0}));
              }),
              std::string(name) +
                  ": called by a reward or termination function of this "
                  "environment; call it when the step is over");
  }
  call = [] {};
  EXPECT_EQ(Flat(env->Step(Longs({0, 0})).observation)[0], 2);
}

TEST(Limits, OfSurpriseAndSupportTruncate) {
  const auto truncated = [](VecEnvOptions options, AutoresetMode mode) {
    options.num_envs = 2;
    options.autoreset_mode = mode;
    VecEnv env = Counting(99, options);
    env.Reset({.frames = Frames({0, 1}), .temperature = at::tensor({2.0f, 3.0f})});
    Numbers ends;
    for (int i = 0; i < 3; ++i) {
      const VecEnvStep step = env.Step(Longs({0, 0}));
      EXPECT_EQ(Flat(step.terminated), (Numbers{0, 0}));
      for (const int64_t end : Flat(step.truncated)) ends.push_back(end);
    }
    return ends;
  };
  // This world's surprise is the temperature, and its distance from the training data the count.
  EXPECT_EQ(truncated({.max_surprise = 2.5}, AutoresetMode::kNextStep),
            (Numbers{0, 1, 0, 0, 0, 1}));
  EXPECT_EQ(truncated({.max_surprise = 2.5}, AutoresetMode::kSameStep),
            (Numbers{0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(truncated({.max_surprise = -1}, AutoresetMode::kNextStep), (Numbers{1, 1, 0, 0, 1, 1}));
  EXPECT_EQ(truncated({.max_latent_distance = 1}, AutoresetMode::kNextStep),
            (Numbers{0, 1, 1, 0, 0, 0}));
  EXPECT_EQ(truncated({}, AutoresetMode::kNextStep), Numbers(6, 0));
}

TEST(Limits, TheScoreIsGivenWhereItIsAskedFor) {
  VecEnv without = Counting(2, {}), with = Counting(2, {.latent_distance = true});
  VecEnv limited = Counting(2, {.max_latent_distance = 5});
  EXPECT_EQ(TextOf<std::invalid_argument>([] { Counting(2, {.max_latent_distance = -1}); }),
            "max_latent_distance is -1, expected 0 or more: a distance is never negative");
  EXPECT_TRUE(limited.options().latent_distance);
  for (VecEnv* env : {&without, &with, &limited}) env->Reset();
  EXPECT_FALSE(without.Step(Longs({0})).latent_distance.defined());
  EXPECT_EQ(Flat(with.Step(Longs({0})).latent_distance), Numbers{1});
  EXPECT_EQ(Flat(with.Step(Longs({0})).latent_distance), Numbers{2});
  EXPECT_EQ(Flat(with.Step(Longs({0})).latent_distance), Numbers{0});  // it began
  EXPECT_EQ(Flat(limited.Follow(Longs({0}), Frames({9})).latent_distance), Numbers{9});
  EXPECT_EQ(TextOf<std::invalid_argument>([] { Counting(9, {.max_surprise = std::nan("")}); }),
            "max_surprise is nan, expected a number, or nothing for no threshold");
}

/// Says that a step overwrites what is not there.
struct WronglySpecified : CountingWorld {
  explicit WronglySpecified(OverwrittenField field) : CountingWorld(9), named(std::move(field)) {}
  std::vector<OverwrittenField> OverwrittenByStep(const WorldState&) const override {
    return {named};
  }
  OverwrittenField named;
};

TEST(StepFunctions, AWorldThatNamesWhatIsNotThereIsRefusedBeforeMemoryIsTouched) {
  const auto refusal = [](OverwrittenField field) {
    VecEnv env(std::make_shared<WronglySpecified>(std::move(field)), {.reward_fn = Told});
    env.Reset();
    return TextOf<std::logic_error>([&] { env.Step(Longs({0})); });
  };
  EXPECT_EQ(refusal({.field = 9}), "OverwrittenByStep: field 9 does not exist: the state has 1");
  EXPECT_EQ(refusal({.field = 0, .dimension = 2, .slot = Longs({0})}),
            "OverwrittenByStep: field 0 has no dimension 2, or is not contiguous");
  EXPECT_EQ(refusal({.field = 0, .dimension = 1, .slot = Longs({0, 1})}),
            "OverwrittenByStep: field 0 has a slot that is not int64 [1] on the CPU");
  EXPECT_EQ(refusal({.field = 0, .dimension = 1, .slot = Longs({5})}),
            "OverwrittenByStep: field 0 has slot 5 of 5");
}

}  // namespace
}  // namespace genie_env
