// The two implementations of a frozen Genie, side by side: what one computes row by row from packed
// weights on the CPU, the other computes for all rows at once through LibTorch on any device.
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>

#include "genie_env/kernels/device_info.h"
#include "random_genie.h"

namespace genie_env {
namespace {

constexpr int64_t kRows = 4, kSteps = 18;  // the rings of 3 and 2 slots are written over and over
constexpr int64_t kPositions = RandomGenie::kPositions, kCodes = RandomGenie::kDynamics.codes;

void ExpectAlike(const GenieState& a, const GenieState& b, const std::string& when) {
  EXPECT_TRUE(at::equal(a.tokens, b.tokens.cpu())) << when;
  EXPECT_TRUE(at::equal(a.time, b.time.cpu())) << when;
  EXPECT_TRUE(at::equal(a.encoder_time, b.encoder_time.cpu())) << when;
  EXPECT_TRUE(at::allclose(a.kv_cache, b.kv_cache.cpu(), 1e-4, 1e-4)) << when;
  EXPECT_TRUE(at::allclose(a.encoder_kv_cache, b.encoder_kv_cache.cpu(), 1e-4, 1e-4)) << when;
  EXPECT_TRUE(at::allclose(a.features, b.features.cpu(), 1e-4, 1e-4)) << when;
}

/// Rows begin again now and then, from tokens or from frames; between that they dream, or are
/// shown frames.
void ExpectTheSameDreams(UnmaskOrder order, at::Device device, int64_t columns = 0) {
  GenieScene scene(columns);
  scene.weights.order = order;
  const auto cpu = MakeGenieCpu(scene.weights, at::kFloat);
  const auto torch = MakeGenieTorch(scene.weights, device, at::kFloat);
  const GenieState a = GenieScene::MakeState(kRows, at::kFloat);
  const GenieState b = GenieScene::MakeState(kRows, at::kFloat, device);

  uint64_t seed = 100;
  const auto uniform = [&](at::IntArrayRef shape) {
    return TrainingNoise(++seed, 0).Uniform(shape, at::kCPU);
  };
  const auto frames = [&](int64_t rows) {
    return (uniform({rows, 24, 16, 3}) * 256).to(at::kByte);
  };
  const auto begin = [&](const at::Tensor& rows, bool from_frames) {
    if (from_frames) {
      const at::Tensor shown = frames(rows.size(0));
      cpu->BeginFrames(a, rows, shown);
      torch->BeginFrames(b, rows, shown.to(device));
    } else {
      const at::Tensor tokens = RandomNumbers(++seed, {rows.size(0), kPositions}, kCodes);
      cpu->Begin(a, rows, tokens);
      torch->Begin(b, rows, tokens.to(device));
    }
  };

  begin(at::arange(kRows, at::kLong), false);
  ExpectAlike(a, b, "at the beginning");
  for (int64_t step = 0; step < kSteps; ++step) {
    if (step == 2) begin(at::full({1}, 3, at::kLong), true);
    if (step == 7) begin(at::arange(1, 3, at::kLong), false);
    if (step == 12) begin(at::arange(0, 4, 2, at::kLong), true);
    const at::Tensor actions = RandomNumbers(++seed, {kRows}, RandomGenie::kActions);
    FrameDraws draws{
        .uniform = uniform({kRows, kPositions}),
        .order = order == UnmaskOrder::kRandom ? uniform({kRows, kPositions}) : at::Tensor(),
        .temperature = uniform({kRows}) + 0.5};
    if (step % 5 == 4) draws.temperature.fill_(1e-4);  // greedy
    const at::Tensor there = draws.order.defined() ? draws.order.to(device) : at::Tensor();
    at::Tensor expected, surprise;
    if (step % 4 == 3 || step % 11 == 2) {  // once twice in a row
      const at::Tensor shown = frames(kRows);
      expected = cpu->Follow(a, actions, shown, draws.order);
      surprise = torch->Follow(b, actions.to(device), shown.to(device), there);
    } else {
      expected = cpu->Dream(a, actions, draws);
      surprise = torch->Dream(b, actions.to(device),
                              {.uniform = draws.uniform.to(device),
                               .order = there,
                               .temperature = draws.temperature.to(device)});
    }
    const std::string when = "after step " + std::to_string(step);
    EXPECT_TRUE(at::allclose(surprise.cpu(), expected, 1e-4, 1e-4)) << when;
    ExpectAlike(a, b, when);
    if (testing::Test::HasFailure()) return;  // they have parted: what follows says nothing
  }
  const at::Tensor decoded = cpu->Decode(a.tokens), shown = torch->Decode(b.tokens);
  EXPECT_EQ(shown.sizes(), decoded.sizes());
  EXPECT_LE((shown.cpu().to(at::kInt) - decoded.to(at::kInt)).abs().max().item<int64_t>(), 1);
}

TEST(GenieTorch, DreamsAsThePackedOne) {
  ExpectTheSameDreams(UnmaskOrder::kConfidence, at::kCPU);
  ExpectTheSameDreams(UnmaskOrder::kRandom, at::kCPU);
  ExpectTheSameDreams(UnmaskOrder::kConfidence, at::kCPU, 4);
}

TEST(GenieTorch, DreamsOnTheGpuAsThePackedOne) {
  if (CudaDevices().empty()) GTEST_SKIP() << "no GPU, or no CUDA kernels in this build";
  ExpectTheSameDreams(UnmaskOrder::kConfidence, {at::kCUDA, 0});
  ExpectTheSameDreams(UnmaskOrder::kRandom, {at::kCUDA, 0});
  ExpectTheSameDreams(UnmaskOrder::kConfidence, {at::kCUDA, 0}, 4);
}

TEST(GenieTorch, AStateMeansTheSameToBoth) {
  const GenieScene scene;
  const auto cpu = MakeGenieCpu(scene.weights, at::kFloat);
  const auto torch = MakeGenieTorch(scene.weights, at::kCPU, at::kFloat);
  const GenieState mixed = GenieScene::MakeState(1, at::kFloat);
  const GenieState expected = GenieScene::MakeState(1, at::kFloat);
  const at::Tensor rows = at::zeros({1}, at::kLong);
  const at::Tensor start = RandomNumbers(1, {1, kPositions}, kCodes);
  torch->Begin(mixed, rows, start);
  cpu->Begin(expected, rows, start);
  const FrameDraws draws{.uniform = TrainingNoise(2, 0).Uniform({1, kPositions}, at::kCPU),
                         .order = {},
                         .temperature = at::ones({1})};
  for (int64_t step = 0; step < 9; ++step) {  // by turns
    const at::Tensor action = at::full({1}, step % 5, at::kLong);
    (step % 2 == 0 ? cpu : torch)->Dream(mixed, action, draws);
    cpu->Dream(expected, action, draws);
    ExpectAlike(expected, mixed, "after step " + std::to_string(step));
  }
}

TEST(GenieTorch, ManyRowsBeginEachWithItsOwnFrame) {
  constexpr int64_t kMany = 300;  // more than it begins at once
  const GenieScene scene;
  const auto cpu = MakeGenieCpu(scene.weights, at::kFloat);
  const auto torch = MakeGenieTorch(scene.weights, at::kCPU, at::kFloat);
  const GenieState a = GenieScene::MakeState(kMany, at::kFloat);
  const GenieState b = GenieScene::MakeState(kMany, at::kFloat);
  const at::Tensor rows = at::arange(kMany - 1, -1, -1, at::kLong);
  const at::Tensor tokens = RandomNumbers(1, {kMany, kPositions}, kCodes);
  cpu->Begin(a, rows, tokens);
  torch->Begin(b, rows, tokens);
  ExpectAlike(a, b, "from tokens");
  const at::Tensor frames = RandomNumbers(2, {kMany, 24, 16, 3}, 256).to(at::kByte);
  cpu->BeginFrames(a, rows, frames);
  torch->BeginFrames(b, rows, frames);
  // Among so many latents one may lie so near between two codes that rounding decides.
  EXPECT_GT((a.tokens == b.tokens).to(at::kFloat).mean().item<float>(), 0.999);
  EXPECT_TRUE(at::allclose(a.encoder_kv_cache, b.encoder_kv_cache, 1e-4, 1e-4));
}

TEST(GenieTorch, DreamsInBfloat16AboutAsInFloat32) {
  const GenieScene scene;
  std::array<at::Tensor, 2> surprises;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto genie = MakeGenieTorch(scene.weights, at::kCPU, dtype);
    const GenieState state = GenieScene::MakeState(kRows, dtype);
    genie->Begin(state, at::arange(kRows, at::kLong),
                 RandomNumbers(1, {kRows, kPositions}, kCodes));
    surprises[dtype == at::kFloat ? 0 : 1] =
        genie->Dream(state, RandomNumbers(2, {kRows}, RandomGenie::kActions),
                     {.uniform = TrainingNoise(3, 0).Uniform({kRows, kPositions}, at::kCPU),
                      .order = {},
                      .temperature = at::ones({kRows})});
    EXPECT_EQ(state.kv_cache.scalar_type(), dtype);
  }
  EXPECT_TRUE(at::allclose(surprises[1], surprises[0], 0.2, 0.2)) << surprises[0] << surprises[1];
}

}  // namespace
}  // namespace genie_env
