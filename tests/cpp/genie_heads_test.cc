// Heads on Genie's features: frozen ones against the network that was trained, and the world that
// has them.
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "genie_env/core/error.h"
#include "genie_env/kernels/device_info.h"
#include "genie_env/tensor/draws.h"
#include "genie_env/worlds/genie/features.h"
#include "genie_env/worlds/genie/frozen_heads.h"
#include "genie_env/worlds/world.h"
#include "random_genie.h"

namespace genie_env {
namespace {

constexpr int64_t kRows = 19;  // no whole group

HeadsWeights WeightsOf(bool judges_termination) {
  const TensorMap tensors = RandomHeadsWeights(judges_termination);
  HeadsWeights weights{.actions = RandomGenie::kActions};
  weights.outcome = OutcomeOf(tensors, "outcome", RewardRange{.low = -3, .high = 2});
  if (!judges_termination) weights.ending = OutcomeOf(tensors, "ending", std::nullopt);
  return weights;
}

/// What is judged: features before and after actions.
struct Steps {
  at::Tensor before = 2 * TrainingNoise(1, 0).Normal(Shape(), at::kCPU);
  at::Tensor after = 2 * TrainingNoise(2, 0).Normal(Shape(), at::kCPU);
  at::Tensor actions = RandomNumbers(3, {kRows}, RandomGenie::kActions);

  static std::vector<int64_t> Shape() { return {kRows, RandomGenie::kDynamics.features()}; }
};

TEST(GenieHeads, FrozenOnesJudgeAsTheNetworkDoes) {
  const Steps steps;
  for (const bool judges : {true, false}) {
    Heads network(RandomHeads(judges), RewardRange{.low = -3, .high = 2});
    LoadParameters(network, RandomHeadsWeights(judges));
    const Heads::Judged expected = network.Judge(steps.before, steps.actions, steps.after);
    const auto check = [&](const FrozenHeads& heads, at::Device device) {
      const HeadsOutcome found =
          heads.Judge(steps.before.to(device), steps.actions.to(device), steps.after.to(device));
      EXPECT_TRUE(at::allclose(found.reward.cpu(), expected.rewards, 1e-4, 1e-4));
      EXPECT_TRUE(
          at::allclose(found.termination_logit.cpu(), expected.termination_logits, 1e-4, 1e-4));
    };
    check(*MakeHeadsCpu(WeightsOf(judges)), at::kCPU);
    check(*MakeHeadsTorch(WeightsOf(judges), at::kCPU), at::kCPU);
    if (!CudaDevices().empty()) {
      check(*MakeHeadsTorch(WeightsOf(judges), {at::kCUDA, 0}), {at::kCUDA, 0});
    }
  }
}

TEST(GenieHeads, ARowDependsOnItselfAlone) {
  const Steps steps;
  const auto heads = MakeHeadsCpu(WeightsOf(false));
  const HeadsOutcome all = heads->Judge(steps.before, steps.actions, steps.after);
  for (const int64_t row : {int64_t{0}, int64_t{7}, int64_t{8}, kRows - 1}) {
    const auto own = [&](const at::Tensor& tensor) { return tensor.narrow(0, row, 1); };
    const HeadsOutcome alone =
        heads->Judge(own(steps.before), own(steps.actions), own(steps.after));
    EXPECT_TRUE(at::equal(alone.reward, own(all.reward)));
    EXPECT_TRUE(at::equal(alone.termination_logit, own(all.termination_logit)));
  }
}

TEST(GenieHeads, FeaturesAreMeansOverQuartersOfTheFrame) {
  const at::Tensor even = FeatureAreas({.height = 8, .width = 16, .patch = 4});  // 2 x 4
  EXPECT_TRUE(at::equal(even[0], at::tensor({.5F, .5F, 0.F, 0.F, 0.F, 0.F, 0.F, 0.F})));
  EXPECT_TRUE(at::equal(even[3], at::tensor({0.F, 0.F, 0.F, 0.F, 0.F, 0.F, .5F, .5F})));
  // The middle of three rows and the only column belong to both halves.
  const at::Tensor odd = FeatureAreas({.height = 12, .width = 4, .patch = 4});
  EXPECT_TRUE(at::equal(odd[1], at::tensor({.5F, .5F, 0.F})));
  EXPECT_TRUE(at::equal(odd[2], at::tensor({0.F, .5F, .5F})));
}

class GenieWithHeads : public testing::Test {
 protected:
  /// Steps two rows once. Returns the step, and the features before and after.
  struct Stepped {
    WorldStep step;
    at::Tensor before, after;
  };
  static Stepped StepOnce(const World& world, bool followed = false) {
    WorldState state = world.MakeState(2);
    RowCounters rng = Counters(0);
    world.Begin(state, at::ones({2}, at::kBool), {}, rng);
    const at::Tensor before = world.Observe(state, "features");
    rng = Counters(1);
    const at::Tensor actions = Actions();
    const at::Tensor frames = RandomNumbers(4, {2, 24, 16, 3}, 256).to(at::kByte);
    WorldStep step = followed ? world.Follow(state, actions, frames, rng, "features")
                              : world.Step(state, actions, at::ones({2}), rng, "features");
    return {std::move(step), before, world.Observe(state, "features")};
  }
  static RowCounters Counters(uint32_t step) { return {{11, 0, step}, {12, 0, step}}; }
  static at::Tensor Actions() { return at::tensor({4, 1}, at::kLong); }

  void ExpectRefused(const std::string& fields, const std::string& words) const {
    WriteRandomGenie(directory_.path(), ThirdGenieConfig(fields), RandomHeadsWeights(true));
    try {
      World::Load(directory_.path());
      ADD_FAILURE() << "loaded with " << fields;
    } catch (const FormatError& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  }

  TemporaryDirectory directory_;
};

TEST_F(GenieWithHeads, PaysAndEndsAsTheHeadsJudge) {
  for (const bool judges : {true, false}) {
    WriteJudgingGenie(directory_.path(), judges);
    const auto heads = MakeHeadsCpu(WeightsOf(judges));
    for (const bool followed : {false, true}) {
      const auto world = World::Load(directory_.path(), {.dtype = "float32"});
      const auto [step, before, after] = StepOnce(*world, followed);
      EXPECT_TRUE(at::equal(step.observation, after));
      EXPECT_FALSE(at::equal(before, after));
      const HeadsOutcome expected = heads->Judge(before, Actions(), after);
      EXPECT_TRUE(at::allclose(step.reward, expected.reward));
      const at::Tensor draw =
          Draw(Counters(1), Stream::kTermination, 1, FillUniformRows).view({-1});
      EXPECT_TRUE(at::equal(step.terminated, draw < at::sigmoid(expected.termination_logit)));
      const auto strict = World::Load(
          directory_.path(), {.dtype = "float32", .options = {{"termination", "thresholded"}}});
      EXPECT_TRUE(
          at::equal(StepOnce(*strict, followed).step.terminated, expected.termination_logit > 0));
    }
  }
}

TEST_F(GenieWithHeads, DreamsTheSameFramesAsWithout) {
  const auto with = World::Load(WriteJudgingGenie(directory_.path() / "with"));
  const auto without = World::Load(WriteRandomGenie(directory_.path() / "without"));
  EXPECT_TRUE(at::equal(StepOnce(*with).after, StepOnce(*without).after));
  EXPECT_TRUE(at::equal(StepOnce(*with).step.surprise, StepOnce(*without).step.surprise));
  EXPECT_NE(with->spec().fingerprint, without->spec().fingerprint);
}

TEST_F(GenieWithHeads, FeaturesThatAreNoNumbersShowInTheSurprise) {
  const auto world = World::Load(WriteJudgingGenie(directory_.path()));
  WorldState state = world->MakeState(2);
  world->Begin(state, at::ones({2}, at::kBool), {}, Counters(0));
  const size_t last = state.fields().size() - 1;
  ASSERT_EQ(state.fields()[last].name, "features");
  at::Tensor(state[last])[1].fill_(std::numeric_limits<float>::quiet_NaN());
  const WorldStep step = world->Step(state, Actions(), at::ones({2}), Counters(1), "features");
  EXPECT_TRUE(std::isfinite(step.surprise[0].item<float>()));
  EXPECT_FALSE(std::isfinite(step.surprise[1].item<float>()));
}

TEST_F(GenieWithHeads, WhatIsNotLearnedIsAsTheConfigSays) {
  WriteRandomGenie(directory_.path(),
                   ThirdGenieConfig(R"("reward": {"type": "constant", "per_step": 0.5},
 "termination": "never", "termination_reads": "next_frame", )"));
  const auto world = World::Load(directory_.path());
  const WorldStep step = StepOnce(*world).step;
  EXPECT_TRUE(at::equal(step.reward, at::full({2}, 0.5)));
  EXPECT_TRUE(at::equal(step.terminated, at::zeros({2}, at::kBool)));
  EXPECT_EQ(world->spec().options.size(), 2U);
}

TEST_F(GenieWithHeads, ConfigsThatCannotBe) {
  ExpectRefused(R"("reward": {"type": "learned", "low": 2, "high": 2}, "termination": "never", )",
                R"("reward.high" is 2, expected a number above "low")");
  ExpectRefused(R"("reward": {"type": "much"}, )", R"("reward.type" is "much", expected)");
  ExpectRefused(R"("reward": {"type": "constant", "per_step": 0}, )", R"(has no "termination")");
  ExpectRefused(R"("reward": {"type": "constant", "per_step": 0}, "termination": "sampled",
 "termination_reads": "tea leaves", )",
                R"("termination_reads" is "tea leaves", expected "next_frame" or "action")");
  ExpectRefused(R"("reward": {"type": "learned", "low": 0, "high": 2}, "termination": "sampled",
 "termination_reads": "action", )",
                "heads.ending");  // whose weights are not there
}

}  // namespace
}  // namespace genie_env
