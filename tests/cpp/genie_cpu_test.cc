#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "genie_env/kernels/cpu/packed_gemm.h"
#include "random_genie.h"

namespace genie_env {
namespace {

constexpr TokenizerSizes kTokenizer = RandomGenie::kTokenizer;
constexpr DynamicsSizes kDynamics = RandomGenie::kDynamics;
constexpr int64_t kPositions = RandomGenie::kPositions, kActions = RandomGenie::kActions;

at::Tensor Range(int64_t count) { return at::arange(count, at::kLong); }

// Greedy MaskGIT without a cache: the whole history goes through the training network, and the
// window says who sees whom. tokens: [1, T, S]; actions [1, T]. Returns the next frame's [S] and
// surprise.
std::pair<at::Tensor, double> Uncached(const Dynamics& dynamics, const at::Tensor& tokens,
                                       const at::Tensor& actions) {
  const at::Tensor clip = at::cat({tokens, at::zeros_like(tokens.slice(1, 0, 1))}, 1);
  at::Tensor frame = at::full({kPositions}, dynamics.mask_token(), at::kLong);
  double surprise = 0;
  for (const int64_t left : MaskSchedule(kPositions, kDynamics.passes)) {
    at::Tensor masked = clip.slice(1, 1).clone();
    masked.select(1, masked.size(1) - 1).copy_(frame);
    const at::Tensor all = at::log_softmax(dynamics.Logits(clip, masked, actions), -1);
    const auto [likelihood, likeliest] = all.select(1, all.size(1) - 1)[0].max(-1);
    const at::Tensor hidden = frame == dynamics.mask_token();
    const int64_t count = hidden.sum().item<int64_t>() - left;
    const at::Tensor ranked =
        likelihood.masked_fill(~hidden, -1e9).argsort(/*stable=*/true, 0, /*descending=*/true);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t position = ranked[i].item<int64_t>();
      frame[position] = likeliest[position];
      surprise -= likelihood[position].item<double>();
    }
  }
  return {frame, surprise / kPositions};
}

FrameDraws Greedy(int64_t rows) {
  return {.uniform = at::full({rows, kPositions}, 0.5f, at::kFloat),
          .order = {},
          .temperature = at::full({rows}, 1e-4f, at::kFloat)};
}

/// The tokens in a row of a frame, of blocks with a convolution; 0: without.
class PackedGenie : public ::testing::TestWithParam<int64_t> {
 protected:
  const GenieScene scene{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Columns, PackedGenie, ::testing::Values(0, 4));

TEST_P(PackedGenie, DreamsAsTheNetworkDoesWithoutACache) {
  const auto genie = MakeGenieCpu(scene.weights, at::kFloat);
  constexpr int64_t kRows = 3, kSteps = 11;  // the cache of 3 slots is overwritten several times
  const GenieState state = scene.MakeState(kRows, at::kFloat);
  std::vector<at::Tensor> tokens(kRows), actions(kRows);
  const auto begin = [&](int64_t row, uint64_t seed) {
    const at::Tensor start = RandomNumbers(seed, {1, kPositions}, kDynamics.codes);
    genie->Begin(state, at::full({1}, row, at::kLong), start);
    tokens[row] = start.unsqueeze(0);
    actions[row] = at::zeros({1, 0}, at::kLong);
  };
  for (int64_t row = 0; row < kRows; ++row) begin(row, 10 + row);
  for (int64_t step = 0; step < kSteps; ++step) {
    if (step == 2) begin(1, 20);  // ragged: another row begins anew
    if (step == 7) begin(2, 21);
    const at::Tensor chosen = RandomNumbers(30 + step, {kRows}, kActions);
    const at::Tensor surprise = genie->Dream(state, chosen, Greedy(kRows));
    for (int64_t row = 0; row < kRows; ++row) {
      actions[row] = at::cat({actions[row], chosen[row].view({1, 1})}, 1);
      const auto [next, expected] = Uncached(scene.dynamics, tokens[row], actions[row]);
      ASSERT_TRUE(at::equal(state.tokens[row], next)) << "step " << step << ", row " << row;
      EXPECT_NEAR(surprise[row].item<double>(), expected, 1e-4);
      tokens[row] = at::cat({tokens[row], next.view({1, 1, kPositions})}, 1);
    }
  }
  EXPECT_TRUE(
      at::equal(state.time, at::stack({tokens[0].new_full({}, 12), tokens[0].new_full({}, 10),
                                       tokens[0].new_full({}, 5)})));
}

TEST(PackedTokenizer, EncodesAndDecodesAsTheNetwork) {
  const GenieScene scene;
  const auto genie = MakeGenieCpu(scene.weights, at::kFloat);
  constexpr int64_t kFrames = 8;
  const at::Tensor frames = RandomNumbers(3, {1, kFrames, 24, 16, 3}, 256).to(at::kByte);
  const at::Tensor expected = scene.tokenizer.Encode(frames);
  const GenieState state = scene.MakeState(1, at::kFloat);
  genie->BeginFrames(state, Range(1), frames.select(1, 0).contiguous());
  EXPECT_TRUE(at::equal(state.tokens, expected.select(1, 0)));
  const at::Tensor action = at::zeros({1}, at::kLong);
  for (int64_t t = 1; t < kFrames; ++t) {
    genie->Follow(state, action, frames.select(1, t).contiguous(), {});
    EXPECT_TRUE(at::equal(state.tokens, expected.select(1, t))) << t;
  }
  const at::Tensor pixels = scene.tokenizer.Decode(expected)[0];
  EXPECT_LE((ToBytes(pixels).to(at::kInt) - genie->Decode(expected[0]).to(at::kInt))
                .abs()
                .max()
                .item<int64_t>(),
            1);
}

TEST_P(PackedGenie, ARowDependsOnItselfAlone) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    if (dtype == at::kBFloat16 && !CanPackBf16()) continue;
    const auto genie = MakeGenieCpu(scene.weights, dtype);
    constexpr int64_t kRows = 5;
    const at::Tensor start = RandomNumbers(1, {kRows, kPositions}, kDynamics.codes);
    const at::Tensor actions = RandomNumbers(2, {kRows}, kActions);
    const FrameDraws draws{.uniform = TrainingNoise(3, 0).Uniform({kRows, kPositions}, at::kCPU),
                           .order = {},
                           .temperature = at::full({kRows}, 1.0f, at::kFloat)};
    const GenieState together = scene.MakeState(kRows, dtype);
    genie->Begin(together, Range(kRows), start);
    std::vector<at::Tensor> surprises;
    for (int64_t t = 0; t < 6; ++t) surprises.push_back(genie->Dream(together, actions, draws));
    const GenieState alone = scene.MakeState(1, dtype);
    genie->Begin(alone, Range(1), start.slice(0, 3, 4));
    const FrameDraws own{.uniform = draws.uniform.slice(0, 3, 4),
                         .order = {},
                         .temperature = draws.temperature.slice(0, 3, 4)};
    for (int64_t t = 0; t < 6; ++t) {
      const at::Tensor surprise = genie->Dream(alone, actions.slice(0, 3, 4), own);
      EXPECT_TRUE(at::equal(surprise[0], surprises[t][3]));
    }
    EXPECT_TRUE(at::equal(alone.tokens[0], together.tokens[3]));
    EXPECT_TRUE(at::equal(alone.kv_cache[0], together.kv_cache[3]));
  }
}

TEST(MaskGit, EveryTokenIsSettledAndNoneTwice) {
  EXPECT_EQ(MaskSchedule(64, 4), (std::vector<int64_t>{59, 45, 24, 0}));
  EXPECT_EQ(MaskSchedule(64, 1), (std::vector<int64_t>{0}));
  const std::vector<int64_t> many = MaskSchedule(4, 16);
  EXPECT_TRUE(std::is_sorted(many.rbegin(), many.rend()));
  EXPECT_EQ(many.back(), 0);
}

}  // namespace
}  // namespace genie_env
