#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "genie_env/core/error.h"
#include "genie_env/kernels/cpu/packed_gemm.h"
#include "genie_env/kernels/device_info.h"
#include "genie_env/worlds/genie/world.h"
#include "random_genie.h"
#include "world_conformance.h"

namespace genie_env {
namespace {

class GenieWorldTest : public testing::Test {
 protected:
  static void ChangeConfig(const std::filesystem::path& world, const std::string& from,
                           const std::string& to) {
    std::string config = kRandomGenieConfig;
    config.replace(config.find(from), from.size(), to);
    WriteBytes(world / "config.json", config);
  }

  /// What two rows see and how surprised they are, over some steps and a frame that is given:
  /// float32 [frames, 2, 1 + S].
  static at::Tensor Dreamt(const World& world) {
    WorldState state = world.MakeState(2);
    RowCounters rng{{1, 0, 0}, {2, 0, 0}};
    world.Begin(state, at::ones({2}, at::kBool), {}, rng);
    std::vector<at::Tensor> seen;
    const auto see = [&](const WorldStep& step) {
      seen.push_back(at::cat({step.surprise.unsqueeze(1), state[0].to(at::kFloat)}, 1));
    };
    for (uint32_t t = 1; t < 6; ++t) {
      rng[0].step = rng[1].step = t;
      see(world.Step(state, at::full({2}, t % 5, at::kLong), at::ones({2}), rng, "tokens"));
    }
    const at::Tensor frames = RandomNumbers(4, {2, 24, 16, 3}, 256).to(at::kByte);
    see(world.Follow(state, at::zeros({2}, at::kLong), frames, rng, "tokens"));
    return at::stack(seen);
  }

  void ExpectRefused(const std::string& from, const std::string& to, const std::string& words) {
    ChangeConfig(path_, from, to);
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

TEST_F(GenieWorldTest, ConformsWithHeads) {
  CheckWorld(*World::Load(WriteJudgingGenie(path_), {.dtype = "float32"}), 1e-4);
  const auto path = WriteJudgingGenie(directory_.path() / "action", false);
  if (CanPackBf16()) CheckWorld(*World::Load(path, {.dtype = "bfloat16"}));
}

TEST_F(GenieWorldTest, ConformsOnTheGpu) {
  if (CudaDevices().empty()) GTEST_SKIP() << "no GPU, or no CUDA kernels in this build";
  const auto gpu = World::Load(path_, {.device = "cuda", .dtype = "float32"});
  CheckWorld(*gpu, 1e-3);
  const auto cpu = World::Load(path_, {.dtype = "float32"});
  const RowCounters rng{{1, 0, 0}, {2, 0, 0}, {3, 0, 0}};
  WorldState on_gpu = gpu->MakeState(3), on_cpu = cpu->MakeState(3);
  for (auto [world, state] : {std::pair{&gpu, &on_gpu}, {&cpu, &on_cpu}}) {
    (*world)->Begin(*state, at::ones({3}, at::kBool), {}, rng);
    (*world)->Step(*state, at::arange(3, at::kLong), at::ones({3}), rng, "tokens");
  }
  EXPECT_TRUE(at::equal(gpu->Observe(on_gpu, "tokens").cpu(), cpu->Observe(on_cpu, "tokens")));
}

TEST_F(GenieWorldTest, OnTheGpuWhatWasWrittenToAStateDoesNoHarm) {
  if (CudaDevices().empty()) GTEST_SKIP() << "no GPU, or no CUDA kernels in this build";
  for (const auto& path : {path_, WriteLocalGenie(directory_.path() / "local")}) {
    const auto world = World::Load(path, {.device = "cuda"});
    WorldState state = world->MakeState(2);
    state[0].fill_(1 << 20);
    state[1].fill_(-7);
    const at::Tensor last =
        at::full({2, RandomGenie::kPositions}, RandomGenie::kTokenizer.codes - 1, at::kLong);
    EXPECT_TRUE(at::equal(world->Observe(state, "tokens").cpu(), last));
    for (const char* kind : {"latents", "pixels"}) world->Observe(state, kind).cpu();
    const RowCounters rng{{1, 0, 0}, {2, 0, 0}};
    const WorldStep step =
        world->Step(state, at::zeros({2}, at::kLong), at::ones({2}), rng, "tokens");
    EXPECT_GT(step.surprise.min().item<float>(), 0);
  }
}

TEST_F(GenieWorldTest, WhatIsNearChangesWhatIsDreamt) {
  const auto world = World::Load(WriteLocalGenie(directory_.path() / "local"));
  EXPECT_FALSE(at::equal(Dreamt(*world), Dreamt(*World::Load(path_))));
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
  const WorldStep step =
      world->Step(state, at::zeros({2}, at::kLong), at::ones({2}), rng, "tokens");
  EXPECT_TRUE(at::equal(step.reward, at::zeros({2})));
  EXPECT_TRUE(at::equal(step.terminated, at::zeros({2}, at::kBool)));
  EXPECT_GT(step.surprise.min().item<float>(), 0);
}

TEST_F(GenieWorldTest, ARowThatHasNotBegunIsRefused) {
  const auto world = World::Load(path_);
  WorldState state = world->MakeState(1);
  EXPECT_THROW(world->Step(state, at::zeros({1}, at::kLong), at::ones({1}), {{1, 0, 0}}, "tokens"),
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
  for (const char* columns : {"2", "0", "-4", "4.5", "true"}) {
    ExpectRefused(R"("passes": 3)", R"("passes": 3, "columns": )" + std::string(columns),
                  R"("dynamics.columns" is )" + std::string(columns));
  }
  ExpectRefused(R"("passes": 3)", R"("passes": 3, "columns": 4)", "previous");  // no such weights
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

std::string ValueOf(const World& world, const std::string& option) {
  for (const Option& each : world.spec().options) {
    if (each.spec.name == option) return ValueText(each.value);
  }
  return "none";
}

TEST_F(GenieWorldTest, PassesAndOrderAreTheWorldsOrThoseThatAreAskedFor) {
  const auto own = World::Load(path_);
  EXPECT_EQ(ValueOf(*own, "passes"), "3");
  EXPECT_EQ(ValueOf(*own, "order"), "confidence");
  const at::Tensor dreamt = Dreamt(*own);
  const OptionValues same{{"passes", int64_t{3}}, {"order", "confidence"}};
  EXPECT_TRUE(at::equal(Dreamt(*World::Load(path_, {.options = same})), dreamt));

  const auto expect_alike = [&](const OptionValues& options, const std::string& from,
                                const std::string& to) {
    const auto chosen = World::Load(path_, {.options = options});
    const auto changed = WriteRandomGenie(directory_.path() / "changed");
    ChangeConfig(changed, from, to);
    const auto configured = World::Load(changed);
    for (const char* option : {"passes", "order"}) {
      EXPECT_EQ(ValueOf(*chosen, option), ValueOf(*configured, option)) << to;
    }
    EXPECT_EQ(ValueText(chosen->spec().options[0].default_value), "3") << to;
    EXPECT_TRUE(at::equal(Dreamt(*chosen), Dreamt(*configured))) << to;
    EXPECT_FALSE(at::equal(Dreamt(*chosen), dreamt)) << to;
  };
  expect_alike({{"passes", int64_t{1}}}, R"("passes": 3)", R"("passes": 1)");
  expect_alike({{"passes", RandomGenie::kPositions}}, R"("passes": 3)", R"("passes": 24)");
  expect_alike({{"order", "random"}}, R"("confidence")", R"("random")");
  expect_alike({{"passes", int64_t{64}}, {"order", "random"}}, R"("passes": 3},
 "order": "confidence")",
               R"("passes": 64}, "order": "random")");
}

TEST_F(GenieWorldTest, InOnePassTheOrderSaysNothing) {
  const auto dreamt = [&](const char* order) {
    return Dreamt(*World::Load(path_, {.options = {{"passes", int64_t{1}}, {"order", order}}}));
  };
  EXPECT_TRUE(at::equal(dreamt("random"), dreamt("confidence")));
}

TEST_F(GenieWorldTest, PassesAndOrderThatCannotBe) {
  const auto refusal = [&](const OptionValues& options) {
    return TextOf<std::invalid_argument>([&] { World::Load(path_, {.options = options}); });
  };
  const std::string of = " of random-genie (genie) is ";
  for (const int64_t passes : {int64_t{-1}, int64_t{0}, int64_t{65}, INT64_MAX}) {
    EXPECT_EQ(refusal({{"passes", passes}}), "option 'passes'" + of + std::to_string(passes) +
                                                 ", expected an integer from 1 to 64");
  }
  EXPECT_EQ(refusal({{"passes", 2.5}}),
            "option 'passes'" + of + "2.5, expected an integer from 1 to 64");
  EXPECT_EQ(refusal({{"passes", true}}),
            "option 'passes'" + of + "true, expected an integer from 1 to 64");
  EXPECT_EQ(refusal({{"passes", "many"}}),
            "option 'passes'" + of + "\"many\", expected an integer from 1 to 64");
  EXPECT_EQ(refusal({{"order", "luck"}}),
            "option 'order'" + of + "\"luck\", expected \"confidence\" or \"random\"");
  EXPECT_EQ(refusal({{"termination", "sampled"}}),
            "option 'termination' was given, but no episode of the world \"random-genie\" ever "
            "terminates, as in its recordings: leave it out");
}

TEST_F(GenieWorldTest, ReadsVersionTwoOfTheConfig) {
  std::string config = kRandomGenieConfig;
  const auto replace = [&](const std::string& from, const std::string& to) {
    config.replace(config.find(from), from.size(), to);
    WriteBytes(path_ / "config.json", config);
  };
  replace(R"("format_version": 1)", R"("format_version": 2)");
  EXPECT_NE(TextOf<FormatError>([&] { World::Load(path_); }).find(R"(has no "tokenizer.window")"),
            std::string::npos);
  replace(R"("band": 3)", R"("window": 3)");
  replace(R"("band": 4)", R"("window": 4)");
  const auto other = WriteRandomGenie(directory_.path() / "version 1");
  EXPECT_TRUE(at::equal(Dreamt(*World::Load(path_)), Dreamt(*World::Load(other))));
}

TEST_F(GenieWorldTest, SaysHowFarItsLatentsAreFromThoseOfTheTrainingFrames) {
  const auto without = World::Load(path_);
  EXPECT_FALSE(without->spec().has_latent_statistics);
  EXPECT_NE(TextOf<std::invalid_argument>([&] {
              without->LatentDistance(without->MakeState(1));
            }).find("has no statistics of the latents that it was trained on"),
            std::string::npos);

  constexpr int64_t kSize = RandomGenie::kPositions * 3;
  TensorMap weights = RandomGenieWeights();
  const at::Tensor mean = TrainingNoise(1, 0).Uniform({kSize}, at::kCPU);
  const at::Tensor whitening = TrainingNoise(2, 0).Uniform({kSize, kSize}, at::kCPU).tril();
  weights["support.mean"] = mean;
  weights["support.whitening"] = whitening;
  WriteTensors(path_ / "model.safetensors", weights);
  const auto world = World::Load(path_);
  EXPECT_TRUE(world->spec().has_latent_statistics);
  WorldState state = world->MakeState(5);
  state[0].copy_(RandomNumbers(3, {5, RandomGenie::kPositions}, RandomGenie::kTokenizer.codes));
  const at::Tensor distance = world->LatentDistance(state);
  const at::Tensor latents = world->Observe(state, "latents").to(at::kDouble);
  const at::Tensor white = (latents - mean).matmul(whitening.to(at::kDouble).t());
  EXPECT_TRUE(at::allclose(distance, white.square().sum(1).sqrt().to(at::kFloat), 1e-4, 1e-5));
  EXPECT_TRUE(
      at::equal(world->LatentDistance(state.Select(at::arange(3, 4))), distance.narrow(0, 3, 1)));

  weights["support.whitening"] = at::zeros({kSize, 3});
  WriteTensors(path_ / "model.safetensors", weights);
  EXPECT_NE(TextOf<FormatError>([&] {
              World::Load(path_);
            }).find("tensor \"support.whitening\" has shape [72, 3], expected [72, 72]"),
            std::string::npos);
}

}  // namespace
}  // namespace genie_env
