#pragma once

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "alike.h"
#include "files.h"
#include "genie_env/env/vec_env.h"
#include "some_actions.h"

namespace genie_env {

/// What an environment owes its users in every world, whatever its family: dreams that depend on
/// nothing but themselves, and that go on from snapshots as they would have. The tolerances are
/// those of WorldConformance.
class VecEnvConformance {
 public:
  explicit VecEnvConformance(std::shared_ptr<const World> world, double tolerance = 0,
                             double thread_tolerance = 0)
      : world_(std::move(world)), tolerance_(tolerance), thread_tolerance_(thread_tolerance) {}

  void CheckAll() const {
    for (const AutoresetMode mode : {AutoresetMode::kNextStep, AutoresetMode::kSameStep}) {
      ASchedulePlayedAgainIsTheSame(mode);
      NeighboursChangeNoBit(mode);
      BatchAndPositionChangeNothing(mode);
      ThreadsChangeNothing(mode);
      ARestoredDreamGoesOn(mode);
      AStepShowsWhatIsThere(mode);
      AnExceptionUndoesTheStep(mode);
      AStepWritesToTheCallersTensor(mode);
    }
    ABranchSharesItsPastAlone();
    ForksPartByTheirActionsAlone();
    BurnInIsBeginAndFollow();
    OtherWorldsAreRefused();
  }

 private:
  static constexpr int kSteps = 20;

  /// What a player does to a row at one step, at random: resets, seeds, temperatures and actions.
  /// It depends on the player and the step alone.
  struct Move {
    bool resets, takes_seed;
    uint64_t seed;
    float temperature;
    int64_t action;
  };

  Move MoveOf(uint64_t player, int step) const {
    std::array<float, 5> chance{};
    FillUniform({player, 77, static_cast<uint32_t>(step)}, Stream::kTrainingNoise, chance);
    return {.resets = chance[0] < 0.15f,
            .takes_seed = chance[1] < 0.5f,
            .seed = static_cast<uint64_t>(chance[2] * 1000),
            .temperature = chance[3] < 0.5f ? 1.0f : 0.2f + 2 * chance[3],
            .action = static_cast<int64_t>(chance[4] * 1000)};
  }

  /// An environment, and who plays its rows.
  struct Game {
    VecEnv env;
    std::vector<uint64_t> players;
    int step = 0;
  };

  VecEnv Make(int64_t rows, AutoresetMode mode = AutoresetMode::kNextStep) const {
    return VecEnv(world_,
                  {.num_envs = rows, .autoreset_mode = mode, .max_episode_steps = 6, .seed = 1});
  }

  Game Begun(const std::vector<uint64_t>& players, AutoresetMode mode) const {
    Game game{Make(std::ssize(players), mode), players};
    game.env.Reset({.seeds = players});
    return game;
  }

  VecEnvStep Play(Game& game, const at::Tensor& out = {}) const {
    const auto rows = std::ssize(game.players);
    const at::Tensor actions = at::zeros({rows}, at::kLong), temperature = at::ones({rows}),
                     seeded = at::zeros({rows}, at::kBool), unseeded = at::zeros({rows}, at::kBool);
    std::vector<uint64_t> seeds;
    for (int64_t row = 0; row < rows; ++row) {
      const Move move = MoveOf(game.players[row], game.step);
      actions[row] = move.action;
      temperature[row] = move.temperature;
      (move.takes_seed ? seeded : unseeded)[row] = move.resets;
      seeds.push_back(move.seed);
    }
    if (seeded.any().item<bool>()) game.env.Reset({.seeds = seeds, .mask = seeded});
    if (unseeded.any().item<bool>()) game.env.Reset({.mask = unseeded});
    game.env.SetTemperature(temperature);
    ++game.step;
    return game.env.Step(SomeActions(world_->spec().actions, actions), out);
  }

  std::vector<VecEnvStep> PlayOn(Game& game, int steps = kSteps) const {
    std::vector<VecEnvStep> played;
    for (int i = 0; i < steps; ++i) played.push_back(Play(game));
    return played;
  }

  std::vector<VecEnvStep> Played(const std::vector<uint64_t>& players, AutoresetMode mode) const {
    Game game = Begun(players, mode);
    return PlayOn(game);
  }

  static at::Tensor Rows(const std::vector<int64_t>& rows) { return at::tensor(rows, at::kLong); }

  /// The given rows of one step are those of another.
  static void ExpectRows(const VecEnvStep& a, const at::Tensor& rows_of_a, const VecEnvStep& b,
                         const at::Tensor& rows_of_b, double tolerance, const std::string& what) {
    for (const auto& [name, field] : {std::pair{"observation", &VecEnvStep::observation},
                                      {"reward", &VecEnvStep::reward},
                                      {"terminated", &VecEnvStep::terminated},
                                      {"truncated", &VecEnvStep::truncated},
                                      {"surprise", &VecEnvStep::surprise},
                                      {"began", &VecEnvStep::began}}) {
      EXPECT_TRUE(Alike((a.*field).cpu().index_select(0, rows_of_a),
                        (b.*field).cpu().index_select(0, rows_of_b), tolerance))
          << what << ": " << name;
    }
  }

  /// float32 is promised one step from an equal state; bits are promised for ever.
  size_t Promised() const { return tolerance_ == 0 ? kSteps : 1; }

  bool TakesFrames() const { return world_->spec().frame && world_->spec().follows_frames; }

  void ASchedulePlayedAgainIsTheSame(AutoresetMode mode) const {
    const auto once = Played({5, 6, 7}, mode), again = Played({5, 6, 7}, mode);
    bool ended = false;
    for (size_t i = 0; i < once.size(); ++i) {
      ExpectRows(once[i], Rows({0, 1, 2}), again[i], Rows({0, 1, 2}), 0, "played again");
      ended = ended || (once[i].truncated | once[i].terminated).any().item<bool>();
    }
    EXPECT_TRUE(ended) << "the schedule must see ends";
  }

  void NeighboursChangeNoBit(AutoresetMode mode) const {
    const auto one = Played({5, 6, 7, 8}, mode), other = Played({50, 6, 70, 80}, mode);
    for (size_t i = 0; i < (thread_tolerance_ == 0 ? one.size() : Promised()); ++i) {
      ExpectRows(one[i], Rows({1}), other[i], Rows({1}), thread_tolerance_,
                 "among other neighbours");
    }
  }

  void BatchAndPositionChangeNothing(AutoresetMode mode) const {
    std::vector<uint64_t> many;
    for (uint64_t player = 0; player < 35; ++player) many.push_back(player);
    const auto crowd = Played(many, mode);
    for (const int64_t row : {0, 5, 34}) {
      const auto alone = Played({many[static_cast<size_t>(row)]}, mode);
      for (size_t i = 0; i < Promised(); ++i) {
        ExpectRows(alone[i], Rows({0}), crowd[i], Rows({row}), tolerance_, "alone");
      }
    }
  }

  void ThreadsChangeNothing(AutoresetMode mode) const {
    struct Restored {
      int threads = at::get_num_threads();
      ~Restored() { at::set_num_threads(threads); }
    } restored;
    std::vector<uint64_t> many;
    for (uint64_t player = 0; player < 33; ++player) many.push_back(player);
    at::set_num_threads(1);
    const auto one = Played(many, mode);
    at::set_num_threads(4);
    const auto four = Played(many, mode);
    for (size_t i = 0; i < (thread_tolerance_ == 0 ? one.size() : Promised()); ++i) {
      ExpectRows(one[i], at::arange(33), four[i], at::arange(33), thread_tolerance_,
                 "with 4 threads");
    }
  }

  /// In the same environment, in another one, and out of a file, at every age.
  void ARestoredDreamGoesOn(AutoresetMode mode) const {
    const TemporaryDirectory directory;
    const std::filesystem::path file = directory.path() / "dream.safetensors";
    const std::vector<uint64_t> players{5, 6, 7};
    const at::Tensor all = Rows({0, 1, 2});
    for (const int age : {0, 1, 3, 8}) {
      Game game = Begun(players, mode);
      PlayOn(game, age);
      const Snapshot snapshot = game.env.TakeSnapshot();
      snapshot.Save(file);
      const auto expected = PlayOn(game);
      Game other{Make(3, mode), players};
      for (const auto& [from, to] :
           {std::pair{snapshot, &game}, {snapshot, &other}, {Snapshot::Load(file), &other}}) {
        to->env.Restore(from);
        to->step = age;
        const auto went = PlayOn(*to);
        for (size_t i = 0; i < went.size(); ++i) {
          ExpectRows(went[i], all, expected[i], all, 0, "restored");
        }
      }
      // Some rows, elsewhere in a larger batch.
      Game larger = Begun({1, 7, 2, 3, 5}, mode);
      larger.env.Restore(snapshot, Rows({4, 2, 1}));
      larger.step = age;
      const auto went = PlayOn(larger);
      for (size_t i = 0; i < Promised(); ++i) {
        ExpectRows(went[i], Rows({4, 1}), expected[i], Rows({0, 2}), tolerance_, "elsewhere");
      }
    }
  }

  /// The observation of a step, in which rows may have begun, is that of all rows afterwards.
  void AStepShowsWhatIsThere(AutoresetMode mode) const {
    for (const TensorSpec& kind : world_->spec().observations) {
      VecEnv env(world_, {.num_envs = 4,
                          .observation = kind.name,
                          .autoreset_mode = mode,
                          .max_episode_steps = 4,
                          .seed = 1});
      env.Reset({});
      for (int i = 0; i < 10; ++i) {
        // From then on two of the rows end when the others do not.
        if (i == 2) env.Reset({.mask = at::tensor({1, 0, 0, 1}).to(at::kBool)});
        const VecEnvStep step =
            env.Step(SomeActions(world_->spec().actions, at::zeros({4}, at::kLong)));
        EXPECT_TRUE(Alike(step.observation, env.Restore(env.TakeSnapshot()), tolerance_))
            << kind.name << " at step " << i;
      }
    }
  }

  void ABranchSharesItsPastAlone() const {
    Game game = Begun({5, 6}, AutoresetMode::kNextStep);
    PlayOn(game, 2);
    const Snapshot snapshot = game.env.TakeSnapshot();
    const at::Tensor before = game.env.Restore(snapshot);
    EXPECT_TRUE(at::equal(game.env.Restore(snapshot, {}, {{100, 101}}), before));
    game.step = 2;
    const VecEnvStep branch = Play(game);
    game.env.Restore(snapshot, {}, {{100, 101}});
    game.step = 2;
    ExpectRows(Play(game), Rows({0, 1}), branch, Rows({0, 1}), 0, "the same branch");
    // A world may have nothing random until an episode begins again.
    game.env.Restore(snapshot);
    game.step = 2;
    const std::vector<VecEnvStep> trunk = PlayOn(game);
    game.env.Restore(snapshot, {}, {{100, 101}});
    game.step = 2;
    const std::vector<VecEnvStep> parted = PlayOn(game);
    bool differ = false;
    for (size_t i = 0; i < trunk.size(); ++i) {
      differ = differ || !at::equal(trunk[i].observation, parted[i].observation);
    }
    EXPECT_TRUE(differ) << "another branch";
  }

  void ForksPartByTheirActionsAlone() const {
    VecEnv env = Make(4);
    env.Reset();
    env.Fork(2, Rows({0, 1, 3}));
    const auto some = [&](const at::Tensor& numbers) {
      return SomeActions(world_->spec().actions, numbers);
    };
    const VecEnvStep same = env.Step(some(Rows({0, 0, 0, 0})));
    for (const int64_t row : {0, 1, 3}) {
      ExpectRows(same, Rows({row}), same, Rows({2}), tolerance_, "forks");
    }
    env.Fork(2, Rows({0, 1, 3}));
    env.Step(some(Rows({1, 0, 1, 0})));
    const VecEnvStep parted = env.Step(some(Rows({0, 0, 0, 0})));
    ExpectRows(parted, Rows({0, 1}), parted, Rows({2, 3}), 10 * tolerance_, "alike by actions");
    // Not every two actions differ everywhere: a wall may be in the way of one.
    bool differ = !at::equal(parted.observation[0], parted.observation[1]);
    for (int64_t i = 0; i < kSteps && !differ; ++i) {
      const VecEnvStep step = env.Step(some(Rows({i + 1, i, i + 1, i})));
      differ = !at::equal(step.observation[0], step.observation[1]);
    }
    EXPECT_TRUE(differ) << "other actions";
  }

  /// uint8 [rows, length, H, W, 3]
  at::Tensor Films(int64_t rows, int64_t length) const {
    std::vector<int64_t> shape = world_->spec().frame->shape;
    shape.insert(shape.begin(), {rows, length});
    int64_t size = 1;
    for (const int64_t side : shape) size *= side;
    return (at::arange(size) * 37 % 251).to(at::kByte).view(shape);
  }

  void BurnInIsBeginAndFollow() const {
    if (!TakesFrames()) return;
    const at::Tensor films = Films(3, 4);
    const at::Tensor actions =
        SomeActions(world_->spec().actions, Rows({0, 1, 0, 1, 1, 0, 0, 0, 1}).view({3, 3}));
    VecEnv at_once = Make(3), by_hand = Make(3), masked = Make(3);
    const at::Tensor seen = at_once.Reset({.frames = films, .actions = actions});
    by_hand.Reset({.frames = films.select(1, 0).contiguous()});
    VecEnvStep step;
    for (int64_t t = 0; t < 3; ++t) {
      step = by_hand.Follow(actions.select(1, t).contiguous(), films.select(1, t + 1).contiguous());
    }
    EXPECT_TRUE(at::equal(seen, step.observation)) << "burnt in";
    const at::Tensor none = SomeActions(world_->spec().actions, at::zeros({3}, at::kLong));
    const at::Tensor all = Rows({0, 1, 2});
    const VecEnvStep next = at_once.Step(none);
    ExpectRows(next, all, by_hand.Step(none), all, 0, "after burning in");

    masked.Reset();
    const at::Tensor mask = Rows({0, 1, 0}).to(at::kBool), before = masked.Reset().cpu();
    const at::Tensor after =
        masked.Reset({.seeds = {{1, 2, 3}}, .mask = mask, .frames = films, .actions = actions})
            .cpu();
    EXPECT_TRUE(
        at::equal(after.index_select(0, Rows({0, 2})), before.index_select(0, Rows({0, 2}))))
        << "rows that were not burnt in";
    EXPECT_TRUE(Alike(after[1], seen.cpu()[1], 10 * tolerance_)) << "a row burnt in alone";
  }

  /// Step and Follow, from every age: episodes are longer than the windows of the worlds here.
  void AnExceptionUndoesTheStep(AutoresetMode mode) const {
    bool fails = false;
    VecEnvOptions options{
        .num_envs = 3, .autoreset_mode = mode, .max_episode_steps = 11, .seed = 1};
    options.reward_fn = [&](const at::Tensor& before, const at::Tensor&, const at::Tensor&) {
      if (fails) throw std::string("mine");
      return at::ones({before.size(0)});
    };
    VecEnv env(world_, options), untouched(world_, options);
    env.Reset();
    untouched.Reset();
    const at::Tensor all = Rows({0, 1, 2});
    const at::Tensor actions = SomeActions(world_->spec().actions, Rows({0, 1, 0}));
    const at::Tensor others = SomeActions(world_->spec().actions, Rows({1, 1, 1}));
    const bool pictures = TakesFrames();
    const at::Tensor frames = pictures ? Films(3, 1).select(1, 0).contiguous() : at::Tensor();
    bool ended = false;
    for (int i = 0; i < 26; ++i) {
      if (i == 4) {  // from here on rows end at different steps
        for (VecEnv* each : {&env, &untouched}) {
          each->Reset({.mask = at::tensor({1, 0, 0}).to(at::kBool)});
        }
      }
      const bool follows = pictures && !ended && i % 3 == 1;
      const auto advance = [&](VecEnv& each, const at::Tensor& taken) {
        return follows ? each.Follow(taken, frames) : each.Step(taken);
      };
      fails = true;
      EXPECT_THROW(advance(env, others), std::string);
      fails = false;
      const VecEnvStep expected = advance(untouched, actions);
      ExpectRows(advance(env, actions), all, expected, all, 0,
                 "step " + std::to_string(i) + " after an exception");
      ended = mode == AutoresetMode::kNextStep &&
              (expected.terminated | expected.truncated).any().item<bool>();
    }
    EXPECT_GT(env.rollback_bytes(), 0);
    VecEnv plain = Make(3);
    plain.Reset();
    plain.Step(actions);
    EXPECT_EQ(plain.rollback_bytes(), 0) << "nothing is saved where nothing can fail";
  }

  void AStepWritesToTheCallersTensor(AutoresetMode mode) const {
    const std::vector<uint64_t> players{1, 2, 3};
    Game game = Begun(players, mode), other = Begun(players, mode);
    at::Tensor out;
    for (int i = 0; i < kSteps; ++i) {
      const VecEnvStep expected = Play(other);
      if (!out.defined()) out = at::zeros_like(expected.observation);
      const VecEnvStep step = Play(game, out);
      EXPECT_TRUE(step.observation.is_same(out));
      ExpectRows(step, Rows({0, 1, 2}), expected, Rows({0, 1, 2}), 0, "step " + std::to_string(i));
    }
    EXPECT_THAT(TextOf<std::invalid_argument>([&] { Play(game, out.flatten()); }),
                testing::StartsWith("out: got "));
  }

  void OtherWorldsAreRefused() const {
    VecEnv env = Make(1);
    env.Reset();
    const std::string bytes = env.TakeSnapshot().ToBytes();
    std::string foreign = bytes;
    const std::string& fingerprint = world_->spec().fingerprint;
    foreign.replace(foreign.find(fingerprint), fingerprint.size(),
                    std::string(fingerprint.size(), 'f'));
    const at::Tensor before = env.Restore(env.TakeSnapshot());
    EXPECT_EQ(TextOf<std::invalid_argument>([&] {
                env.Restore(Snapshot::FromBytes(std::as_bytes(std::span(foreign)), "foreign"));
              }),
              "snapshot: it was taken in the world \"" + world_->spec().name +
                  "\" (fingerprint ffffffffffff), but this environment dreams in \"" +
                  world_->spec().name + "\" (fingerprint " + fingerprint.substr(0, 12) +
                  "); restore it where it was taken");
    EXPECT_TRUE(at::equal(env.Restore(env.TakeSnapshot()), before));
  }

  std::shared_ptr<const World> world_;
  double tolerance_, thread_tolerance_;
};

inline void CheckVecEnv(std::shared_ptr<const World> world, double tolerance = 0,
                        double thread_tolerance = 0) {
  VecEnvConformance(std::move(world), tolerance, thread_tolerance).CheckAll();
}

}  // namespace genie_env
