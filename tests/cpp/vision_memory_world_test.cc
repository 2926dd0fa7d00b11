#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>

#include "adversarial_draws.h"
#include "files.h"
#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"
#include "genie_env/kernels/cpu/packed_gemm.h"
#include "genie_env/worlds/vision_memory/frozen_memory.h"
#include "genie_env/worlds/vision_memory/world.h"
#include "random_world.h"
#include "world_conformance.h"

namespace genie_env {
namespace {

/// Random worlds, written once for all tests; sizes that fill panels of 16, and some that do not.
const std::filesystem::path& WorldOf(const MemorySizes& sizes) {
  static const TemporaryDirectory directory;
  static std::map<std::array<int64_t, 4>, std::filesystem::path> written;
  const std::array key{sizes.latents, sizes.hidden, sizes.components, sizes.mixtures()};
  if (!written.contains(key)) {
    written[key] = WriteRandomWorld(directory.path() / std::to_string(written.size()), sizes, 3);
  }
  return written[key];
}

constexpr MemorySizes kWhole{32, 64, 5}, kRagged{11, 37, 3}, kBoxed{11, 37, 3, 2};

constexpr MemorySizes Joint(MemorySizes sizes) {
  sizes.mixture = MixtureKind::kJoint;
  return sizes;
}
constexpr MemorySizes kJointWhole = Joint(kWhole), kJointRagged = Joint(kRagged);

bool HasCuda() { return at::globalContext().hasCUDA(); }

TEST(VisionMemoryWorld, ConformsInFloat32) {
  // V's convolutions differ in their last bits between batch sizes; M's step does not.
  CheckWorld(*World::Load(WorldOf(kWhole), {.dtype = "float32"}), 1e-4);
  CheckWorld(*World::Load(WorldOf(kRagged), {.dtype = "float32"}), 1e-4);
  CheckWorld(*World::Load(WorldOf(kJointRagged), {.dtype = "float32"}), 1e-4);
}

TEST(VisionMemoryWorld, ConformsWithinTheCallersInferenceMode) {
  const std::filesystem::path path = WorldOf(kRagged);
  const c10::InferenceMode inference;
  CheckWorld(*World::Load(path, {.dtype = "float32"}), 1e-4);
}

TEST(VisionMemoryWorld, ConformsInBfloat16ToTheBit) {
  if (!CanPackBf16()) GTEST_SKIP() << "this processor has no AVX-512";
  CheckWorld(*World::Load(WorldOf(kWhole), {.dtype = "bfloat16"}));
  CheckWorld(*World::Load(WorldOf(kRagged), {.dtype = "bfloat16"}));
  CheckWorld(*World::Load(WorldOf(kJointRagged), {.dtype = "bfloat16"}));
}

TEST(VisionMemoryWorld, ConformsWithActionsInABoxAndLearnedRewards) {
  const TemporaryDirectory directory;
  const auto path = WriteRandomWorld(directory.path(), kBoxed, 3, JudgingKind());
  CheckWorld(*World::Load(path, {.dtype = "float32"}), 1e-4);
  if (CanPackBf16()) CheckWorld(*World::Load(path, {.dtype = "bfloat16"}));
}

// The actions of format 3 whose width kWhole has.
constexpr const char* kOneAction = R"({"type": "discrete", "meanings": ["on"], "start": 0})";

TEST(VisionMemoryWorld, ConformsWithRectifiedFeaturesAndRewardsThatAreLinear) {
  const TemporaryDirectory directory;
  const MemorySizes sizes = Joint({.latents = 11, .hidden = 37, .components = 3, .actions = 1});
  const auto path = WriteRandomWorld(directory.path(), sizes, 3,
                                     {.format = 3, .actions = kOneAction, .imported = true});
  const auto world = World::Load(path, {.dtype = "float32"});
  CheckWorld(*world, 1e-4);
  if (CanPackBf16()) CheckWorld(*World::Load(path, {.dtype = "bfloat16"}));
  WorldState state = world->MakeState(70);
  RowCounters rng;
  for (uint64_t row = 0; row < 70; ++row) rng.push_back({row, 0, 0});
  world->Begin(state, at::ones({70}, at::kBool), {}, rng);
  const WorldStep step = world->Step(state, at::zeros({70}, at::kLong), at::ones({70}), rng, "zch");
  const at::Tensor expected = (state[1] * 0.1f * at::arange(37, at::kFloat)).sum(1) + 0.5f;
  EXPECT_TRUE(at::allclose(step.reward, expected, 1e-5, 1e-5));
}

TEST(VisionMemoryWorld, ConformsWithActionsNumberedFromElsewhere) {
  const TemporaryDirectory directory;
  const auto path = WriteRandomWorld(
      directory.path(), {.latents = 11, .hidden = 37, .components = 3, .actions = 4}, 3,
      {.format = 3,
       .actions = R"({"type": "discrete", "meanings": ["a", "b", "c", "d"], "start": -1})",
       .termination = "never"});
  const auto world = World::Load(path, {.dtype = "float32"});
  CheckWorld(*world, 1e-4);
  EXPECT_EQ(world->spec().actions.start, -1);
  EXPECT_TRUE(world->spec().options.empty());
  EXPECT_EQ(TextOf<std::invalid_argument>([&] {
              World::Load(path, {.options = {{"termination", "sampled"}}});
            }),
            "option 'termination' was given, but no episode of the world \"random\" ever "
            "terminates, as in its recordings: leave it out");
  WorldState state = world->MakeState(2);
  world->Begin(state, at::ones({2}, at::kBool), {}, {{1, 0, 0}, {2, 0, 0}});
  for (uint32_t t = 1; t < 200; ++t) {
    const WorldStep step = world->Step(state, at::tensor({-1, 2}, at::kLong), at::ones({2}),
                                       {{1, 0, t}, {2, 0, t}}, "zh");
    ASSERT_FALSE(step.terminated.any().item<bool>());
  }
}

TEST(VisionMemoryWorld, RoundingOfAnActionIsNoError) {
  const TemporaryDirectory directory;
  const auto path = WriteRandomWorld(directory.path(), kBoxed, 3, JudgingKind());
  const auto world = World::Load(path, {.dtype = "float32"});
  const RowCounters rng{{1, 0, 1}};
  WorldState state = world->MakeState(1);
  world->Begin(state, at::ones({1}, at::kBool), {}, rng);
  const auto step = [&](float first, float second) {
    world->Step(state, at::tensor({first, second}).unsqueeze(0), at::ones({1}), rng, "zh");
  };
  step(std::nextafter(1.0f, 2.0f), std::nextafter(0.5f, 1.0f));
  EXPECT_EQ(TextOf<InvalidAction>([&] { step(0, 0.51f); }),
            "actions[0, 1] is 0.51, expected 0 to 0.5");
  EXPECT_EQ(TextOf<InvalidAction>([&] { step(std::nanf(""), 0); }),
            "actions[0, 0] is nan, expected -1 to 1");
}

TEST(VisionMemoryWorld, ConformsOnTheGpu) {
  if (!HasCuda()) GTEST_SKIP() << "no GPU";
  CheckWorld(*World::Load(WorldOf(kWhole), {.device = "cuda"}), 1e-3);
  CheckWorld(*World::Load(WorldOf(kJointWhole), {.device = "cuda"}), 1e-3);
  const auto gpu = World::Load(WorldOf(kWhole), {.device = "cuda"});
  const auto cpu = World::Load(WorldOf(kWhole), {.dtype = "float32"});
  const RowCounters rng{{1, 0, 0}, {2, 0, 0}, {3, 0, 0}};
  WorldState on_gpu = gpu->MakeState(3), on_cpu = cpu->MakeState(3);
  for (auto [world, state] : {std::pair{&gpu, &on_gpu}, {&cpu, &on_cpu}}) {
    (*world)->Begin(*state, at::ones({3}, at::kBool), {}, rng);
    (*world)->Step(*state, at::tensor({0, 1, 2}, at::kLong), at::ones({3}), rng, "zh");
  }
  for (const char* kind : {"zch", "zh"}) {
    EXPECT_TRUE(
        at::allclose(gpu->Observe(on_gpu, kind).cpu(), cpu->Observe(on_cpu, kind), 1e-3, 1e-3));
  }
}

TEST(VisionMemoryWorld, SpecSaysWhatTheConfigSays) {
  const auto world = World::Load(WorldOf(kWhole));
  const WorldSpec& spec = world->spec();
  EXPECT_EQ(spec.name, "random");
  EXPECT_EQ(spec.family, "vision-memory");
  EXPECT_EQ(spec.fingerprint.size(), 64);
  EXPECT_EQ(spec.actions.meanings, (std::vector<std::string>{"left", "stay", "right"}));
  ASSERT_EQ(spec.observations.size(), 3);
  EXPECT_EQ(spec.observations[0].name, "zch");
  EXPECT_EQ(spec.observations[0].shape, (std::vector<int64_t>{32 + 2 * 64}));
  EXPECT_EQ(spec.observations[1].name, "zh");
  EXPECT_EQ(spec.observations[1].shape, (std::vector<int64_t>{32 + 64}));
  EXPECT_EQ(spec.observations[2].name, "pixels");
  ASSERT_TRUE(spec.frame);
  EXPECT_EQ(spec.frame->shape, (std::vector<int64_t>{64, 64, 3}));
  EXPECT_EQ(spec.max_episode_steps, 100);
  EXPECT_EQ(spec.temperature, 1.15);
  ASSERT_EQ(spec.options.size(), 1);
  EXPECT_EQ(spec.options[0].spec.name, "termination");
  EXPECT_EQ(spec.options[0].value, OptionValue("sampled"));
  const auto other = World::Load(WorldOf(kWhole), {.options = {{"termination", "thresholded"}}});
  EXPECT_EQ(other->spec().options[0].value, OptionValue("thresholded"));
  EXPECT_EQ(other->spec().options[0].default_value, OptionValue("sampled"));
}

/// Some rows in the middle of a dream, their weights, and what they are given next.
struct Scene {
  MemoryWeights weights;
  MemoryState state;
  at::Tensor actions, next;
  MixtureDraws draws;

  Scene(const MemorySizes& sizes, int64_t rows, bool judges = false) {
    const RandomKind kind = judges ? JudgingKind() : RandomKind();
    const TensorMap all = RandomWeights(sizes, 1, kind);
    const auto weight = [&](const char* name) {
      return all.at(std::string("memory.") + name).to(at::kFloat);
    };
    weights = {.latents = sizes.latents,
               .mixture = sizes.mixture,
               .weight_ih = weight("weight_ih"),
               .weight_hh = weight("weight_hh"),
               .bias = weight("bias"),
               .output_weight = weight("output.weight"),
               .output_bias = weight("output.bias"),
               .action_inputs = {}};
    if (judges) {
      weights.outcome = OutcomeWeights{.units_weight = weight("outcome.units.weight"),
                                       .units_bias = weight("outcome.units.bias"),
                                       .output_weight = weight("outcome.output.weight"),
                                       .output_bias = weight("outcome.output.bias"),
                                       .reward_bins = RewardBins(*kind.rewards)};
    } else {
      weights.action_inputs = at::tensor({-1.0f, 0.25f, 1.0f}).unsqueeze(1);
    }
    const auto normal = [&](uint64_t step, int64_t size) {
      return TrainingNoise(5, step).Normal({rows, size}, at::kCPU);
    };
    state = {.z = normal(0, sizes.latents),
             .h = normal(1, sizes.hidden).tanh(),
             .c = normal(2, sizes.hidden),
             .restart = at::zeros({rows})};
    actions = at::zeros({rows}, at::kLong);
    for (int64_t row = 0; row < rows; ++row) {
      state.restart[row] = row % 4 == 0 ? 1.0f : 0.0f;
      actions[row] = row % 3;
    }
    if (judges) actions = normal(6, sizes.actions).tanh();
    next = normal(3, sizes.latents);
    draws = {.uniform = at::sigmoid(normal(4, sizes.mixtures())),
             .normal = normal(5, sizes.latents),
             .temperature = at::full({rows}, 0.7f)};
  }

  MemoryState CopyOfState() const {
    return {state.z.clone(), state.h.clone(), state.c.clone(), state.restart.clone()};
  }
};

/// The share of elements that differ by more than `tolerance`. A draw at the border of two
/// components may fall to either side by a rounding, so a few may.
double Differing(const at::Tensor& a, const at::Tensor& b, double tolerance) {
  return ((a - b).abs() > tolerance).to(at::kFloat).mean().item<double>();
}

void ComparePackedWithPlain(const MemorySizes& sizes, int64_t rows, at::ScalarType dtype,
                            double tolerance, double strays, bool judges = false) {
  const Scene scene(sizes, rows, judges);
  const auto cpu = MakeMemoryCpu(scene.weights, dtype);
  const auto torch = MakeMemoryTorch(scene.weights, at::kCPU, at::kFloat);
  for (const bool given : {true, false}) {
    const MemoryState a = scene.CopyOfState(), b = scene.CopyOfState();
    const auto advance = [&](const FrozenMemory& memory, const MemoryState& state) {
      return given ? memory.Follow(state, scene.actions, scene.next)
                   : memory.Dream(state, scene.actions, scene.draws, {});
    };
    const MemoryOutcome x = advance(*cpu, a), y = advance(*torch, b);
    EXPECT_TRUE(at::allclose(a.h, b.h, tolerance, tolerance));
    EXPECT_TRUE(at::allclose(a.c, b.c, tolerance, tolerance));
    ASSERT_EQ(x.reward.defined(), judges);
    ASSERT_EQ(y.reward.defined(), judges);
    if (given || !judges) {
      EXPECT_TRUE(at::allclose(x.termination_logit, y.termination_logit, tolerance, tolerance));
    }
    if (given) {
      if (judges) {
        EXPECT_TRUE(at::allclose(x.reward, y.reward, tolerance, tolerance));
      }
      EXPECT_TRUE(at::equal(a.z, scene.next) && at::equal(b.z, scene.next));
      EXPECT_TRUE(at::allclose(x.surprise, y.surprise, tolerance, tolerance));
    } else {
      EXPECT_LE(Differing(a.z, b.z, tolerance), strays);
      EXPECT_LE(Differing(x.surprise, y.surprise, tolerance), strays * sizes.latents);
    }
  }
}

TEST(FrozenMemory, RewardsMayBeLinearInH) {
  Scene scene(kRagged, 70);
  scene.weights.reward_weight = TrainingNoise(5, 9).Normal({1, kRagged.hidden}, at::kCPU);
  scene.weights.reward_bias = at::full({1}, -0.25f);
  for (const auto& memory : {MakeMemoryCpu(scene.weights, at::kFloat),
                             MakeMemoryTorch(scene.weights, at::kCPU, at::kFloat)}) {
    const MemoryState state = scene.CopyOfState();
    const MemoryOutcome outcome = memory->Dream(state, scene.actions, scene.draws, {});
    const at::Tensor expected = at::matmul(state.h, scene.weights.reward_weight[0]) - 0.25f;
    EXPECT_TRUE(at::allclose(outcome.reward, expected, 1e-5, 1e-5));
  }
}

TEST(FrozenMemory, PackedIsPlainInFloat32) {
  for (const MemorySizes& sizes :
       {kWhole, kRagged, MemorySizes{1, 1, 1}, MemorySizes{64, 512, 5}, kJointWhole, kJointRagged,
        Joint({1, 1, 1}), Joint({64, 512, 5}), Joint({33, 17, kMaxComponents})}) {
    for (const int64_t rows : {1, 3, 64, 77, 200}) {
      ComparePackedWithPlain(sizes, rows, at::kFloat, 2e-4, 1e-3);
    }
  }
}

TEST(FrozenMemory, PackedIsNearPlainInBfloat16) {
  if (!CanPackBf16()) GTEST_SKIP() << "this processor has no AVX-512";
  for (const MemorySizes& sizes : {kWhole, kRagged, MemorySizes{64, 512, 5}}) {
    for (const int64_t rows : {1, 77}) {
      ComparePackedWithPlain(sizes, rows, at::kBFloat16, 0.1, 0.02);
    }
  }
  // A row that draws another component by a rounding is another one in all dimensions.
  for (const MemorySizes& sizes : {kJointWhole, kJointRagged, Joint({64, 512, 5})}) {
    ComparePackedWithPlain(sizes, 77, at::kBFloat16, 0.1, 0.05);
  }
}

TEST(FrozenMemory, PackedJudgesAsPlain) {
  for (const MemorySizes& sizes :
       {kBoxed, MemorySizes{1, 1, 1, 1}, MemorySizes{32, 64, 5, 6}, MemorySizes{64, 512, 5, 3}}) {
    for (const int64_t rows : {1, 3, 64, 77, 200}) {
      ComparePackedWithPlain(sizes, rows, at::kFloat, 2e-4, 1e-3, /*judges=*/true);
    }
    if (CanPackBf16()) ComparePackedWithPlain(sizes, 77, at::kBFloat16, 0.2, 0.02, true);
  }
}

void CheckBitsOfRows(const Scene& scene, at::ScalarType dtype) {
  const auto memory = MakeMemoryCpu(scene.weights, dtype);
  const MemoryState whole = scene.CopyOfState();
  const MemoryOutcome expected = memory->Dream(whole, scene.actions, scene.draws, {});
  for (const int64_t batch : {1, 2, 3, 7, 20, 64, 100}) {
    for (const int64_t first : {0, 31}) {
      const auto cut = [&](const at::Tensor& t) { return t.narrow(0, first, batch); };
      const MemoryState copy = scene.CopyOfState();
      const MemoryState part{cut(copy.z), cut(copy.h), cut(copy.c), cut(copy.restart)};
      const MemoryOutcome outcome = memory->Dream(
          part, cut(scene.actions),
          {cut(scene.draws.uniform), cut(scene.draws.normal), cut(scene.draws.temperature)}, {});
      const std::string what = std::to_string(first) + " + " + std::to_string(batch);
      EXPECT_TRUE(at::equal(part.z, cut(whole.z))) << what;
      EXPECT_TRUE(at::equal(part.h, cut(whole.h))) << what;
      EXPECT_TRUE(at::equal(part.c, cut(whole.c))) << what;
      EXPECT_TRUE(at::equal(outcome.surprise, cut(expected.surprise))) << what;
      EXPECT_TRUE(at::equal(outcome.termination_logit, cut(expected.termination_logit))) << what;
      if (expected.reward.defined()) {
        EXPECT_TRUE(at::equal(outcome.reward, cut(expected.reward))) << what;
      }
    }
  }
}

TEST(FrozenMemory, BitsOfARowDependOnNeitherBatchNorPosition) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    if (dtype == at::kBFloat16 && !CanPackBf16()) continue;
    CheckBitsOfRows(Scene({64, 512, 5}, 131), dtype);
    CheckBitsOfRows(Scene({64, 512, 5, 3}, 131, /*judges=*/true), dtype);
    CheckBitsOfRows(Scene(Joint({64, 512, 5}), 131), dtype);
  }
}

TEST(FrozenMemory, DrawsEachRowOnceWhereItIsLeftToDraw) {
  const Scene scene({64, 32, 5}, 131);
  const auto memory = MakeMemoryCpu(scene.weights, at::kFloat);
  const MemoryState given = scene.CopyOfState(), drawn = scene.CopyOfState();
  const MemoryOutcome expected = memory->Dream(given, scene.actions, scene.draws, {});
  const MixtureDraws& draws = scene.draws;
  const at::Tensor uniform = at::zeros_like(draws.uniform);
  const at::Tensor normal = at::zeros_like(draws.normal);
  const MixtureDraws left{uniform, normal, draws.temperature, [&](int64_t begin, int64_t end) {
                            const int64_t count = end - begin;
                            uniform.narrow(0, begin, count) +=
                                draws.uniform.narrow(0, begin, count);
                            normal.narrow(0, begin, count) += draws.normal.narrow(0, begin, count);
                          }};
  const MemoryOutcome outcome = memory->Dream(drawn, scene.actions, left, {});
  EXPECT_TRUE(at::equal(uniform, draws.uniform) && at::equal(normal, draws.normal));
  EXPECT_TRUE(at::equal(drawn.z, given.z) && at::equal(outcome.surprise, expected.surprise));
}

TEST(FrozenMemory, WritesWhatIsObservedWhereItIsWanted) {
  for (const MemorySizes& sizes : {kWhole, kRagged, kJointRagged}) {
    const Scene scene(sizes, 77);
    for (const auto& memory : {MakeMemoryCpu(scene.weights, at::kFloat),
                               MakeMemoryTorch(scene.weights, at::kCPU, at::kFloat)}) {
      const MemoryState silent = scene.CopyOfState(), state = scene.CopyOfState();
      memory->Dream(silent, scene.actions, scene.draws, {});
      const at::Tensor observation = at::full({77, sizes.latents + sizes.hidden + 2}, 99.0f);
      const MemoryState seen{.z = observation.narrow(1, 1, sizes.latents),
                             .h = {},
                             .c = observation.narrow(1, 1 + sizes.latents, sizes.hidden),
                             .restart = {}};
      memory->Dream(state, scene.actions, scene.draws, seen);
      EXPECT_TRUE(at::equal(state.z, silent.z) && at::equal(state.c, silent.c));
      EXPECT_TRUE(at::equal(state.h, silent.h));
      EXPECT_TRUE(at::equal(seen.z, state.z) && at::equal(seen.c, state.c));
      EXPECT_TRUE((observation.select(1, 0) == 99).all().item<bool>());
      EXPECT_TRUE((observation.select(1, -1) == 99).all().item<bool>());
    }
  }
}

TEST(FrozenMemory, NoComponentWithoutWeightIsDrawn) {
  // A row for each uniform number and temperature.
  const at::Tensor uniforms = at::tensor(AdversarialUniforms());
  const at::Tensor temperature = at::tensor({0.1f, 1.0f, 1.5f}).repeat({uniforms.size(0)});
  const MixtureDraws draws{.uniform = uniforms.repeat_interleave(3).unsqueeze(1),
                           .normal = at::zeros({temperature.size(0), 1}),
                           .temperature = temperature};
  const int64_t rows = temperature.size(0);
  for (const std::vector<float>& logits : AdversarialLogits()) {
    const auto components = static_cast<int64_t>(logits.size());
    if (components > kMaxComponents) continue;
    // M predicts this mixture always, and its component k is as good as the number k.
    const MemoryWeights weights{
        .latents = 1,
        .weight_ih = at::zeros({4, 3}),
        .weight_hh = at::zeros({4, 1}),
        .bias = at::zeros({4}),
        .output_weight = at::zeros({3 * components + 1, 1}),
        .output_bias = at::cat({at::tensor(logits), at::arange(components, at::kFloat),
                                at::full({components}, -20.0f), at::zeros({1})}),
        .action_inputs = at::zeros({1, 1})};
    // With one dimension, a joint mixture has the same parameters.
    MemoryWeights joint = weights;
    joint.mixture = MixtureKind::kJoint;
    for (const auto& memory :
         {MakeMemoryCpu(weights, at::kFloat), MakeMemoryTorch(weights, at::kCPU, at::kFloat),
          MakeMemoryCpu(joint, at::kFloat), MakeMemoryTorch(joint, at::kCPU, at::kFloat)}) {
      const MemoryState state{.z = at::zeros({rows, 1}),
                              .h = at::zeros({rows, 1}),
                              .c = at::zeros({rows, 1}),
                              .restart = at::zeros({rows})};
      memory->Dream(state, at::zeros({rows}, at::kLong), draws, {});
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t drawn = std::lround(state.z.const_data_ptr<float>()[row]);
        ASSERT_TRUE(HasWeight(logits, temperature.const_data_ptr<float>()[row], drawn))
            << drawn << " of " << components;
      }
    }
  }
}

/// Rows that begin in a world with starts of no variance, whose first latent is their number.
TEST(VisionMemoryWorld, StoredStartsAreDrawnEvenly) {
  const TemporaryDirectory directory;
  const auto path = WriteRandomWorld(directory.path() / "world");
  const at::Tensor mu = at::zeros({4, 16}), logvar = at::full({4, 16}, -80.0f);
  for (int64_t i = 0; i < 4; ++i) mu[i][0] = static_cast<float>(i);
  WriteTensors(path / "starts.safetensors", {{"mu", mu}, {"logvar", logvar}});
  const auto world = World::Load(path, {.dtype = "float32"});
  constexpr int64_t kRows = 400;
  RowCounters rng;
  for (uint64_t row = 0; row < kRows; ++row) rng.push_back({row, 0, 0});
  WorldState state = world->MakeState(kRows);
  world->Begin(state, at::ones({kRows}, at::kBool), {}, rng);
  const at::Tensor first = state[0].select(1, 0).round();
  for (int64_t start = 0; start < 4; ++start) {
    EXPECT_NEAR((first == start).sum().item<int64_t>(), kRows / 4, 40) << start;
  }
  EXPECT_TRUE(at::equal(state[3], at::ones({kRows})));
}

TEST(VisionMemoryWorld, TerminationIsSampledOrThresholded) {
  const TemporaryDirectory directory;
  const MemorySizes sizes{16, 32, 3};
  const auto path = WriteRandomWorld(directory.path() / "world", sizes);
  TensorMap weights = RandomWeights(sizes, 0);
  weights["memory.output.weight"][sizes.output() - 1].zero_();
  weights["memory.output.bias"][sizes.output() - 1] = -std::log(3.0f);  // probability 1/4
  WriteTensors(path / "model.safetensors", weights);
  constexpr int64_t kRows = 400;
  RowCounters rng;
  for (uint64_t row = 0; row < kRows; ++row) rng.push_back({row, 0, 1});
  const auto deaths = [&](const OptionValues& options) {
    const auto world = World::Load(path, {.dtype = "float32", .options = options});
    WorldState state = world->MakeState(kRows);
    const WorldStep step =
        world->Step(state, at::zeros({kRows}, at::kLong), at::ones({kRows}), rng, "zh");
    EXPECT_TRUE(at::equal(step.reward, at::ones({kRows})));
    return step.terminated.sum().item<int64_t>();
  };
  EXPECT_NEAR(deaths({{"termination", "sampled"}}), kRows / 4, 40);
  EXPECT_NEAR(deaths({}), kRows / 4, 40);
  EXPECT_EQ(deaths({{"termination", "thresholded"}}), 0);
}

TEST(VisionMemoryWorld, RefusesDevicesAndTypesItCannotServe) {
  const auto path = WorldOf(kWhole);
  const auto refusal = [&](const WorldOptions& options) {
    return TextOf<std::invalid_argument>([&] { World::Load(path, options); });
  };
  EXPECT_EQ(refusal({.device = "gpu"}),
            "device is \"gpu\", expected \"cpu\", \"cuda\" or \"cuda:1\"");
  EXPECT_EQ(refusal({.device = "meta"}),
            "device is \"meta\", expected \"cpu\", \"cuda\" or \"cuda:1\"");
  for (const char* device : {"cuda:99", "cuda:256"}) {
    EXPECT_NE(refusal({.device = device}).find("CUDA devices here: give \"cpu\""),
              std::string::npos);
  }
  EXPECT_EQ(refusal({.device = "cpu:1"}),
            "device is \"cpu:1\", but LibTorch has one CPU device: give \"cpu\"");
  for (const std::string device : {"", "cpu:", "cpu:-1", "cpu:x", "cpu:0:0"}) {
    EXPECT_EQ(refusal({.device = device}),
              "device is \"" + device + "\", expected \"cpu\", \"cuda\" or \"cuda:1\"");
  }
  EXPECT_EQ(refusal({.dtype = "float16"}),
            "dtype is \"float16\", expected \"auto\", \"float32\" or \"bfloat16\"");
}

TEST(VisionMemoryWorld, RefusesOptionsOfOtherFamilies) {
  EXPECT_EQ(TextOf<std::invalid_argument>([&] {
              World::Load(WorldOf(kWhole), {.options = {{"passes", int64_t{4}}}});
            }),
            "random (vision-memory) has no option 'passes'; it has: termination");
}

/// Begins three rows and steps them.
WorldState Dreamt(const World& world) {
  WorldState state = world.MakeState(3);
  world.Begin(state, at::ones({3}, at::kBool), {}, RowCounters(3));
  world.Step(state, at::zeros({3}, at::kLong), at::ones({3}), RowCounters(3), "zh");
  return state;
}

TEST(VisionMemoryWorld, TheCpuMayHaveANumber) {
  const auto world = World::Load(WorldOf(kWhole), {.device = "cpu:0"});
  EXPECT_EQ(world->device(), at::Device(at::kCPU));
  EXPECT_EQ(world->Observe(Dreamt(*world), "zh").device(), world->device());
}

// CMakeLists.txt has this run once more with ONEDNN_MAX_CPU_ISA=AVX2.
TEST(VisionMemoryWorld, AutoIsATypeThatWorks) {
  const auto world = World::Load(WorldOf(kWhole));
  EXPECT_EQ(world->spec().dtype, Bf16IsFaster() ? "bfloat16" : "float32");
  Dreamt(*world);
  const char* isa = std::getenv("ONEDNN_MAX_CPU_ISA");
  if (isa == nullptr || isa != std::string("AVX2")) return;
  EXPECT_EQ(world->spec().dtype, "float32");
  const std::string refusal =
      TextOf<std::invalid_argument>([] { World::Load(WorldOf(kWhole), {.dtype = "bfloat16"}); });
  EXPECT_TRUE(refusal.ends_with(": give \"float32\" or \"auto\"")) << refusal;
  EXPECT_NE(refusal.find("AVX-512"), std::string::npos) << refusal;
}

/// While it lives, oneDNN is switched off as by torch.backends.mkldnn.flags(enabled=False).
class WithoutOneDnn {
 public:
  WithoutOneDnn() { at::globalContext().setUserEnabledMkldnn(false); }
  ~WithoutOneDnn() { at::globalContext().setUserEnabledMkldnn(before_); }

 private:
  bool before_ = at::globalContext().userEnabledMkldnn();
};

TEST(VisionMemoryWorld, WithoutOneDnnAutoIsFloat32) {
  const std::filesystem::path path = WorldOf(kWhole);
  if (!CanPackBf16()) GTEST_SKIP() << Bf16UnavailableReason();
  const WithoutOneDnn scope;
  const auto world = World::Load(path);
  EXPECT_EQ(world->spec().dtype, "float32");
  Dreamt(*world);
  EXPECT_EQ(TextOf<std::invalid_argument>([&] { World::Load(path, {.dtype = "bfloat16"}); }),
            "dtype is \"bfloat16\", but oneDNN is switched off (torch.backends.mkldnn.enabled): "
            "give \"float32\" or \"auto\"");
}

TEST(VisionMemoryWorld, OneDnnSwitchedOffLaterCostsNoRow) {
  if (!CanPackBf16()) GTEST_SKIP() << Bf16UnavailableReason();
  const auto world = World::Load(WorldOf(kWhole), {.dtype = "bfloat16"});
  WorldState state = Dreamt(*world);
  const WorldState before = state.Clone();
  const auto step = [&] {
    world->Step(state, at::zeros({3}, at::kLong), at::ones({3}), RowCounters(3), "zh");
  };
  {
    const WithoutOneDnn scope;
    EXPECT_EQ(TextOf<std::invalid_argument>(step),
              "the world was loaded in bfloat16, but oneDNN has been switched off since "
              "(torch.backends.mkldnn.enabled): switch it on, or load the world in float32");
  }
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(at::equal(state[i], before[i]));
  step();
}

TEST(VisionMemoryWorld, AStateOfAnotherShapeIsRefused) {
  const auto world = World::Load(WorldOf(kRagged), {.dtype = "float32"});
  const WorldState good = world->MakeState(2);
  const auto refusal = [&](size_t field, const char* name, const at::Tensor& tensor) {
    std::vector<WorldState::Field> fields = good.fields();
    fields[field] = {name, tensor};
    const WorldState bad(std::move(fields));
    return TextOf<std::invalid_argument>([&] { world->Observe(bad, "zch"); });
  };
  const auto words = [](const std::string& why) {
    return "the state is another world's, or was reshaped: " + why +
           "; use one that MakeState of this world made";
  };
  EXPECT_EQ(refusal(0, "z", at::zeros({2})),
            words("its \"z\" is float32 [2], expected float32 [2, 11]"));
  EXPECT_EQ(refusal(0, "z", at::zeros({11, 2}).t()), words("its \"z\" is not contiguous"));
  EXPECT_EQ(refusal(1, "h", at::zeros({2, 37}, at::kDouble)),
            words("its \"h\" is float64 [2, 37], expected float32 [2, 37]"));
  EXPECT_EQ(refusal(1, "hidden", at::zeros({2, 37})), words("it has \"hidden\", expected \"h\""));
  EXPECT_EQ(refusal(2, "c", at::zeros({2, 36})),
            words("its \"c\" is float32 [2, 36], expected float32 [2, 37]"));
  EXPECT_EQ(refusal(3, "restart", at::zeros({2, 1})),
            words("its \"restart\" is float32 [2, 1], expected float32 [2]"));
  EXPECT_EQ(TextOf<std::invalid_argument>([&] {
              world->Observe(WorldState({{"z", at::zeros({2, 11})}}), "zch");
            }),
            words("it has 1 tensors, expected 4"));
}

TEST(VisionMemoryWorld, ErrorsSayWhatWasGivenAndExpected) {
  const auto world = World::Load(WorldOf(kWhole), {.dtype = "float32"});
  WorldState state = world->MakeState(2);
  const RowCounters rng(2);
  const auto step = [&](const at::Tensor& actions, const at::Tensor& temperature) {
    return TextOf<std::invalid_argument>(
        [&] { world->Step(state, actions, temperature, rng, "zh"); });
  };
  EXPECT_EQ(step(at::zeros({2}), at::ones({2})), "actions: got float32 [2], expected int64 [2]");
  EXPECT_EQ(step(at::tensor({1, 7}, at::kLong), at::ones({2})), "actions[1] is 7, expected 0 to 2");
  EXPECT_EQ(
      step(at::zeros({2}, at::kLong), at::tensor({1.0f, 1e-40f})),
      "temperature[1] is 9.99995e-41, expected a finite number above 0 that float32 can hold");
  EXPECT_EQ(TextOf<std::invalid_argument>([&] { world->Observe(state, "pixel"); }),
            "observation is \"pixel\", but the world \"random\" has zch, zh, pixels");
  EXPECT_EQ(TextOf<std::invalid_argument>([&] {
              world->Observe(state, "zh", at::tensor({0, 2}, at::kLong));
            }),
            "rows[1] is 2: there are 2 rows, numbered from 0");
  EXPECT_EQ(TextOf<std::invalid_argument>([&] {
              WorldState::CopyRows(state, at::tensor({0, 1}, at::kLong), state,
                                   at::tensor({1, 1}, at::kLong));
            }),
            "dst_rows names row 1 twice: only one row can be copied there");
}

TEST(VisionMemoryWorld, SaysHowFarItsLatentsAreFromThoseOfTheTrainingFrames) {
  constexpr MemorySizes kSizes{16, 32, 3};
  const TemporaryDirectory directory;
  const std::filesystem::path path = WriteRandomWorld(directory.path(), kSizes);
  EXPECT_FALSE(World::Load(path)->spec().has_latent_statistics);
  const auto without = World::Load(path);
  EXPECT_EQ(TextOf<std::invalid_argument>([&] { without->LatentDistance(without->MakeState(1)); }),
            "latent_distance: the world \"random\" has no statistics of the latents that it was "
            "trained on; leave it out, or freeze the world again (genie-env freeze writes "
            "them)");

  TensorMap weights = RandomWeights(kSizes, 0);
  const at::Tensor mean = TrainingNoise(1, 0).Normal({16}, at::kCPU);
  const at::Tensor whitening = TrainingNoise(2, 0).Normal({16, 16}, at::kCPU).tril();
  weights["support.mean"] = mean;
  weights["support.whitening"] = whitening;
  WriteTensors(path / "model.safetensors", weights);
  const auto world = World::Load(path);
  EXPECT_TRUE(world->spec().has_latent_statistics);
  EXPECT_NE(world->spec().fingerprint, without->spec().fingerprint);
  WorldState state = world->MakeState(37);
  state[0].copy_(TrainingNoise(3, 0).Normal({37, 16}, at::kCPU));
  const at::Tensor distance = world->LatentDistance(state);
  const at::Tensor white = (state[0] - mean).to(at::kDouble).matmul(whitening.to(at::kDouble).t());
  EXPECT_TRUE(at::allclose(distance, white.square().sum(1).sqrt().to(at::kFloat), 1e-4, 1e-5));
  const WorldState alone = state.Select(at::tensor({int64_t{30}}, at::kLong));
  EXPECT_TRUE(at::equal(world->LatentDistance(alone), distance.narrow(0, 30, 1)));

  const auto refused = [&](const std::string& words) {
    WriteTensors(path / "model.safetensors", weights);
    EXPECT_NE(TextOf<FormatError>([&] { World::Load(path); }).find(words), std::string::npos);
  };
  weights["support.whitening"] = at::zeros({16, 15});
  refused("tensor \"support.whitening\" has shape [16, 15], expected [16, 16]");
  weights.erase("support.whitening");
  refused("has no tensor \"support.whitening\"");
}

/// A world directory to be damaged.
class Damaged : public testing::Test {
 protected:
  static constexpr MemorySizes kSizes{16, 32, 3};
  static constexpr const char* kAdvice = "; copy the world here again, or freeze it again";

  std::string Refusal() const {
    return TextOf<FormatError>([&] { World::Load(path_); });
  }

  void ExpectConfigRefused(const std::string& from, const std::string& to,
                           const std::string& words) const {
    std::string config = RandomConfig(kSizes);
    const size_t at = config.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    config.replace(at, from.size(), to);
    WriteBytes(path_ / "config.json", config);
    EXPECT_EQ(Refusal(), (path_ / "config.json").string() + words + kAdvice);
  }

  void ExpectWeightsRefused(const TensorMap& weights, const std::string& words) const {
    WriteTensors(path_ / "model.safetensors", weights);
    EXPECT_EQ(Refusal(), (path_ / "model.safetensors").string() + words + kAdvice);
  }

  void ExpectStartsRefused(const TensorMap& starts, const std::string& words) const {
    WriteTensors(path_ / "starts.safetensors", starts);
    EXPECT_EQ(Refusal(), (path_ / "starts.safetensors").string() + words + kAdvice);
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_ = WriteRandomWorld(directory_.path() / "world", kSizes);
};

TEST_F(Damaged, ConfigIsRefusedByField) {
  ExpectConfigRefused(
      R"("vision-memory")", R"("diffusion")",
      R"(: "family" is "diffusion", but this genie_env has only )" + WorldFamilyNames());
  ExpectConfigRefused(R"("latents": 16, )", "", R"( has no "sizes.latents")");
  ExpectConfigRefused(R"("latents": 16)", R"("latents": 0)",
                      R"(: "sizes.latents" is 0, expected an integer from 1 to 4096)");
  ExpectConfigRefused(R"("hidden": 32)", R"("hidden": 1e30)",
                      R"(: "sizes.hidden" is 1e+30, expected an integer from 1 to 65536)");
  ExpectConfigRefused(
      R"("hidden": 32)", R"("hidden": 18446744073709551615)",
      R"(: "sizes.hidden" is 18446744073709551615, expected an integer from 1 to 65536)");
  ExpectConfigRefused(R"("components": 3)", R"("components": "3")",
                      R"(: "sizes.components" is "3", expected an integer from 1 to 32)");
  ExpectConfigRefused(R"("actions")", R"("mixture": "both", "actions")",
                      R"(: "mixture" is "both", expected "independent" or "joint")");
  ExpectConfigRefused(R"("actions")", R"("mixture": null, "actions")",
                      R"(: "mixture" is null, expected "independent" or "joint")");
  ExpectConfigRefused(R"(["left", "stay", "right"])", "[]",
                      R"(: "actions.meanings" is [], expected a list of 1 to 1024 texts)");
  ExpectConfigRefused(
      "[-1.0, 0.0, 1.0]", "[-1.0, 1.0]",
      R"(: "actions.inputs" is [-1.0,1.0], expected a list of 3 numbers from -1 to 1)");
  ExpectConfigRefused(
      "[-1.0, 0.0, 1.0]", "[-1.0, 0.0, 2.0]",
      R"(: "actions.inputs" is [-1.0,0.0,2.0], expected a list of 3 numbers from -1 to 1)");
  ExpectConfigRefused(R"("height": 64)", R"("height": 32)",
                      R"(: "frame.height" is 32, expected an integer from 48 to 256)");
  ExpectConfigRefused(R"("frame_skip": 1)", R"("frame_skip": 0)",
                      R"(: "frame_skip" is 0, expected an integer from 1 to 2147483647)");
  ExpectConfigRefused(R"("temperature": 1.15)", R"("temperature": 0)",
                      R"(: "temperature" is 0, expected a number above 0 that float32 can hold)");
  ExpectConfigRefused(
      R"("temperature": 1.15)", R"("temperature": 1e-40)",
      R"(: "temperature" is 1e-40, expected a number above 0 that float32 can hold)");
  ExpectConfigRefused(R"("reward_per_step": 1.0)", R"("reward_per_step": null)",
                      R"(: "reward_per_step" is null, expected a finite number)");
  ExpectConfigRefused(R"("sampled")", R"("guessed")",
                      R"(: "termination" is "guessed", expected "sampled" or "thresholded")");
}

TEST_F(Damaged, ActionsAndRewardsAreRefusedByField) {
  const std::string good = RandomConfig(kSizes, JudgingKind());
  const auto refused = [&](const std::string& from, const std::string& to,
                           const std::string& words) {
    std::string config = good;
    const size_t place = config.find(from);
    ASSERT_NE(place, std::string::npos) << from;
    WriteBytes(path_ / "config.json", config.replace(place, from.size(), to));
    EXPECT_EQ(Refusal(), (path_ / "config.json").string() + words + kAdvice);
  };
  refused(R"("box")", R"("ball")", R"(: "actions.type" is "ball", expected "discrete" or "box")");
  refused("[2]", "[2, 1024]", R"(: "actions.shape" is [2,1024], expected at most 1024 numbers)");
  refused("[2]", "[0]",
          R"(: "actions.shape" is [0], expected a list of at most 8 integers from 1 to 1024)");
  refused("[-1, 0]", "[-1]", R"(: "actions.low" is [-1], expected a list of 2 finite numbers)");
  refused("[1, 0.5]", "[1, 1e300]",
          R"(: "actions.high" is [1,1e+300], expected a list of 2 finite numbers)");
  refused("[1, 0.5]", "[1, 0]",
          R"(: "actions.high" is [1,0], expected numbers above those of "low")");
  refused(R"("learned")", R"("guessed")",
          R"(: "reward.type" is "guessed", expected "constant" or "learned")");
  refused(R"("high": 2.000000)", R"("high": -3.5)",
          R"(: "reward.high" is -3.5, expected a number above "low")");
  refused(R"("next_frame")", R"("tea leaves")",
          R"(: "termination_reads" is "tea leaves", expected "next_frame" or "action")");
  const MemorySizes boxed{.latents = 16, .hidden = 32, .components = 3, .actions = 2};
  WriteBytes(path_ / "config.json", RandomConfig(boxed, JudgingKind()));
  ExpectWeightsRefused(RandomWeights(boxed, 0), R"( has no tensor "memory.outcome.output.bias")");
}

TEST_F(Damaged, WeightsAreRefusedByTensor) {
  const TensorMap good = RandomWeights(kSizes, 0);
  WriteBytes(path_ / "config.json", RandomConfig(Joint(kSizes)));
  ExpectWeightsRefused(
      good, R"(: tensor "memory.output.bias" has shape [145], expected [100])");  // (1 + 32) 3 + 1
  WriteBytes(path_ / "config.json", RandomConfig(kSizes));
  TensorMap bad = good;
  bad.erase("memory.bias");
  ExpectWeightsRefused(bad, R"( has no tensor "memory.bias")");
  bad = good;
  bad["memory.extra"] = at::zeros({1});
  ExpectWeightsRefused(bad, R"(: tensor "memory.extra" is unknown)");
  bad = good;
  bad["memory.weight_hh"] = at::zeros({128, 31});
  ExpectWeightsRefused(bad,
                       R"(: tensor "memory.weight_hh" has shape [128, 31], expected [128, 32])");
  bad = good;
  bad["vision.mu.bias"] = at::full({16}, std::numeric_limits<float>::quiet_NaN());
  ExpectWeightsRefused(bad,
                       R"(: tensor "vision.mu.bias" holds a value that is not finite in float32)");
  std::filesystem::remove(path_ / "model.safetensors");
  EXPECT_NE(Refusal().find("model.safetensors"), std::string::npos);
}

TEST_F(Damaged, StartsAreRefusedByTensor) {
  const at::Tensor some = at::zeros({3, 16});
  ExpectStartsRefused({{"mu", some}}, R"( has no tensor "logvar")");
  ExpectStartsRefused({{"mu", some}, {"logvar", at::zeros({4, 16})}},
                      R"(: "mu" has 3 starts and "logvar" 4, expected as many of each)");
  ExpectStartsRefused({{"mu", at::zeros({0, 16})}, {"logvar", at::zeros({0, 16})}},
                      R"(: tensor "logvar" has shape [0, 16], expected [any, 16])");
  ExpectStartsRefused({{"mu", some}, {"logvar", at::full({3, 16}, 1000.0f)}},
                      R"(: "logvar" holds a value whose exponential is not finite)");
}

}  // namespace
}  // namespace genie_env
