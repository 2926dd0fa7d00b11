#pragma once

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "alike.h"
#include "genie_env/core/error.h"
#include "genie_env/worlds/world.h"
#include "some_actions.h"

namespace genie_env {

/// What every world owes its users, whatever its family. `tolerance`: how much a row may differ
/// between batches (0: by no bit). A world that does not promise exact rows is given one step from
/// an equal state, also with other threads.
class WorldConformance {
 public:
  explicit WorldConformance(const World& world, double tolerance = 0, double thread_tolerance = 0)
      : world_(world), tolerance_(tolerance), thread_tolerance_(thread_tolerance) {}

  void CheckAll() const {
    ShapesAreAsTheSpecSays();
    SameSeedsGiveTheSameBits();
    ThreadsShareTheWorld();
    BitsDependOnNoNumberOfThreads();
    TheModeOfTheCallerChangesNothing();
    AddressesStay();
    AForkLivesOnItsOwn();
    CopiedRowsAreTheRows();
    ARowDependsOnItselfAlone();
    BeginTouchesOnlyItsRows();
    FramesAreFollowed();
    EpisodesBeginFromFrames();
    AStepReturnsItsObservation();
    AStepOverwritesWhatItSays();
    LookingChangesNothing();
    ErrorsLeaveTheStateUntouched();
    NoRowsAreNoTrouble();
  }

 private:
  /// A batch of dreams; row i has seed seeds[i] and plays actions that depend on that seed alone.
  struct Dream {
    std::vector<uint64_t> seeds;
    WorldState state;
    uint32_t step = 0;
  };

  static RowCounters Counters(const std::vector<uint64_t>& seeds, uint32_t step) {
    RowCounters rng;
    for (const uint64_t seed : seeds) rng.push_back({seed, 3, step});
    return rng;
  }

  at::Tensor Actions(const Dream& dream) const {
    const at::Tensor numbers = at::zeros({std::ssize(dream.seeds)}, at::kLong);
    for (size_t i = 0; i < dream.seeds.size(); ++i) {
      numbers[i] = static_cast<int64_t>(dream.seeds[i] + dream.step);
    }
    return SomeActions(world_.spec().actions, numbers);
  }

  at::Tensor Frames(const Dream& dream) const {
    std::vector<int64_t> shape = world_.spec().frame->shape;
    shape.insert(shape.begin(), std::ssize(dream.seeds));
    const at::Tensor frames = at::zeros(shape, at::kByte);
    for (size_t i = 0; i < dream.seeds.size(); ++i) {
      const at::Tensor frame = frames[i].flatten();
      frame.copy_((at::arange(frame.size(0)) * static_cast<int64_t>(7 + dream.seeds[i]) +
                   static_cast<int64_t>(dream.step)) %
                  256);
    }
    return frames;
  }

  at::Tensor Temperature(const Dream& dream) const {
    at::Tensor temperature = at::ones({std::ssize(dream.seeds)});
    for (size_t i = 0; i < dream.seeds.size(); ++i) {
      temperature[i] = 0.5f + 0.25f * static_cast<float>(dream.seeds[i] % 4);
    }
    return temperature;
  }

  Dream Begun(const std::vector<uint64_t>& seeds) const {
    Dream dream{seeds, world_.MakeState(std::ssize(seeds))};
    world_.Begin(dream.state, at::ones({std::ssize(seeds)}, at::kBool), {}, Counters(seeds, 0));
    return dream;
  }

  /// The world's first observation.
  const std::string& First() const { return world_.spec().observations.front().name; }

  WorldStep Step(Dream& dream) const { return Step(dream, First()); }

  WorldStep Step(Dream& dream, const std::string& observation) const {
    const at::Tensor actions = Actions(dream);
    ++dream.step;
    return world_.Step(dream.state, actions, Temperature(dream), Counters(dream.seeds, dream.step),
                       observation);
  }

  bool TakesFrames() const { return world_.spec().frame && world_.spec().follows_frames; }

  /// A given frame; where the world takes none, one that it samples.
  WorldStep Follow(Dream& dream) const { return Follow(dream, First()); }

  WorldStep Follow(Dream& dream, const std::string& observation) const {
    if (!TakesFrames()) return Step(dream, observation);
    const at::Tensor actions = Actions(dream);
    ++dream.step;
    return world_.Follow(dream.state, actions, Frames(dream), Counters(dream.seeds, dream.step),
                         observation);
  }

  /// Three steps, the second of which is given.
  Dream Played(const std::vector<uint64_t>& seeds) const {
    Dream dream = Begun(seeds);
    Step(dream);
    Follow(dream);
    Step(dream);
    return dream;
  }

  static Dream Copied(const Dream& dream) { return {dream.seeds, dream.state.Clone(), dream.step}; }

  /// As far as rows are promised to be alike: three steps, or one from an equal state.
  void PlayPromised(Dream& dream) const {
    Step(dream);
    if (thread_tolerance_ > 0) return;
    Follow(dream);
    Step(dream);
  }

  static std::vector<uint64_t> Seeds(uint64_t first, int64_t count) {
    std::vector<uint64_t> seeds(count);
    for (int64_t i = 0; i < count; ++i) seeds[i] = first + i;
    return seeds;
  }

  static at::Tensor Rows(std::vector<int64_t> rows) { return at::tensor(rows, at::kLong); }

  static void ExpectAlike(const WorldState& a, const WorldState& b, double tolerance,
                          const std::string& what) {
    ASSERT_EQ(a.fields().size(), b.fields().size()) << what;
    for (size_t i = 0; i < a.fields().size(); ++i) {
      EXPECT_TRUE(Alike(a[i], b[i], tolerance)) << what << ": " << a.fields()[i].name;
    }
  }

  void ExpectShape(const at::Tensor& tensor, const TensorSpec& spec, int64_t rows) const {
    std::vector<int64_t> shape = spec.shape;
    shape.insert(shape.begin(), rows);
    EXPECT_EQ(tensor.sizes(), at::IntArrayRef(shape)) << spec.name;
    EXPECT_EQ(tensor.scalar_type(), spec.dtype == DType::kUInt8   ? at::kByte
                                    : spec.dtype == DType::kInt64 ? at::kLong
                                                                  : at::kFloat)
        << spec.name;
    EXPECT_EQ(tensor.device(), world_.device()) << spec.name;
    EXPECT_TRUE(at::isfinite(tensor).all().item<bool>()) << spec.name;
    EXPECT_FALSE(tensor.is_inference()) << spec.name << ": nobody could train on it";
  }

  void ShapesAreAsTheSpecSays() const {
    const WorldSpec& spec = world_.spec();
    if (spec.actions.box) {
      EXPECT_EQ(spec.actions.count(), 0);
      ASSERT_GT(spec.actions.box->numel(), 0);
    } else {
      ASSERT_GT(spec.actions.count(), 0);
    }
    ASSERT_FALSE(spec.observations.empty());
    if (spec.frame) {
      EXPECT_NE(std::ranges::find(spec.observations, spec.frame->name, &TensorSpec::name),
                spec.observations.end());
    }
    Dream dream = Begun(Seeds(0, 5));
    for (const bool given : {false, true, false}) {
      const WorldStep step = given ? Follow(dream) : Step(dream);
      ExpectShape(step.reward, {"reward", {}, DType::kFloat32}, 5);
      ExpectShape(step.surprise, {"surprise", {}, DType::kFloat32}, 5);
      EXPECT_EQ(step.terminated.sizes(), at::IntArrayRef{5});
      EXPECT_EQ(step.terminated.scalar_type(), at::kBool);
      for (const TensorSpec& observation : spec.observations) {
        const at::Tensor seen = world_.Observe(dream.state, observation.name);
        ExpectShape(seen, observation, 5);
        const at::Tensor some = world_.Observe(dream.state, observation.name, Rows({4, 0, 4}));
        ExpectShape(some, observation, 3);
        EXPECT_GE(seen.min().item<double>(), observation.low) << observation.name;
        EXPECT_LE(seen.max().item<double>(), observation.high > observation.low
                                                 ? observation.high
                                                 : std::numeric_limits<double>::infinity())
            << observation.name;
      }
      if (spec.has_latent_statistics) {
        ExpectShape(world_.LatentDistance(dream.state), {"latent distance", {}, DType::kFloat32},
                    5);
      } else {
        EXPECT_THROW(world_.LatentDistance(dream.state), std::invalid_argument);
      }
    }
    int64_t bytes = 0;
    for (const auto& field : dream.state.fields()) {
      EXPECT_EQ(field.tensor.size(0), 5) << field.name;
      bytes += static_cast<int64_t>(field.tensor.nbytes());
    }
    EXPECT_EQ(bytes, 5 * spec.state_bytes_per_row);
  }

  void SameSeedsGiveTheSameBits() const {
    const Dream a = Played(Seeds(0, 5)), b = Played(Seeds(0, 5)), other = Played(Seeds(9, 5));
    ExpectAlike(a.state, b.state, 0, "the same seeds");
    EXPECT_FALSE(at::equal(a.state[0], other.state[0])) << "other seeds make another dream";
  }

  void ThreadsShareTheWorld() const {
    const std::vector<uint64_t> seeds = Seeds(0, 5);
    const Dream start = thread_tolerance_ == 0 ? Begun(seeds) : Played(seeds);
    std::vector<Dream> dreams;
    for (int i = 0; i < 2; ++i) dreams.push_back(Copied(start));
    std::vector<std::thread> threads;
    for (Dream& dream : dreams) threads.emplace_back([&] { PlayPromised(dream); });
    for (std::thread& thread : threads) thread.join();
    Dream here = Copied(start);
    PlayPromised(here);
    for (const Dream& dream : dreams) {
      ExpectAlike(dream.state, here.state, thread_tolerance_, "in a thread");
    }
  }

  void BitsDependOnNoNumberOfThreads() const {
    struct Restored {
      int threads = at::get_num_threads();
      ~Restored() { at::set_num_threads(threads); }
    } restored;
    const std::vector<uint64_t> seeds = Seeds(0, 65);
    const Dream start = thread_tolerance_ == 0 ? Begun(seeds) : Played(seeds);
    Dream one = Copied(start), four = Copied(start);
    at::set_num_threads(1);
    PlayPromised(one);
    at::set_num_threads(4);
    PlayPromised(four);
    ExpectAlike(four.state, one.state, thread_tolerance_, "with 4 threads instead of 1");
  }

  /// A state made outside torch's InferenceMode moves within it, and one made within outside.
  void TheModeOfTheCallerChangesNothing() const {
    const Dream expected = Played(Seeds(0, 5));
    Dream inside = Begun(Seeds(0, 5)), outside{inside.seeds, world_.MakeState(0)};
    {
      const c10::InferenceMode inference;
      Step(inside);
      Follow(inside);
      Step(inside);
      outside.state = Begun(outside.seeds).state;
    }
    Step(outside);
    Follow(outside);
    Step(outside);
    ExpectAlike(inside.state, expected.state, 0, "in InferenceMode");
    ExpectAlike(outside.state, expected.state, 0, "after InferenceMode");
  }

  void AddressesStay() const {
    Dream dream = Begun(Seeds(0, 3));
    std::vector<const void*> before, after;
    for (const auto& field : dream.state.fields()) before.push_back(field.tensor.const_data_ptr());
    Step(dream);
    Follow(dream);
    world_.Begin(dream.state, at::ones({3}, at::kBool), {}, Counters(dream.seeds, 0));
    for (const auto& field : dream.state.fields()) after.push_back(field.tensor.const_data_ptr());
    EXPECT_EQ(before, after);
  }

  void AForkLivesOnItsOwn() const {
    Dream dream = Played(Seeds(0, 4));
    const WorldState before = dream.state.Clone();
    Dream fork{dream.seeds, dream.state.Clone(), dream.step};
    Step(dream);
    ExpectAlike(fork.state, before, 0, "a fork stays where it was");
    Step(fork);
    ExpectAlike(fork.state, dream.state, 0, "a fork goes the same way");
  }

  void CopiedRowsAreTheRows() const {
    const Dream src = Played(Seeds(0, 4));
    Dream dst = Played(Seeds(20, 3));
    const WorldState before = dst.state.Clone();
    WorldState::CopyRows(src.state, Rows({3, 1}), dst.state, Rows({0, 2}));
    ExpectAlike(dst.state.Select(Rows({0, 2})), src.state.Select(Rows({3, 1})), 0, "copied rows");
    ExpectAlike(dst.state.Select(Rows({1})), before.Select(Rows({1})), 0, "the row between");
    Dream moved{{3, 21, 1}, dst.state.Clone(), src.step};
    Dream original{src.seeds, src.state.Clone(), src.step};
    Step(moved);
    Step(original);
    ExpectAlike(moved.state.Select(Rows({0, 2})), original.state.Select(Rows({3, 1})), tolerance_,
                "what copied rows do next");
  }

  void ARowDependsOnItselfAlone() const {
    constexpr uint64_t kSeed = 5;
    Dream alone = Played({kSeed});
    const WorldState before = alone.state.Clone();
    const WorldStep expected = Step(alone);
    for (const auto& [batch, position] :
         std::vector<std::pair<int64_t, int64_t>>{{2, 1}, {2, 0}, {7, 3}, {64, 63}, {65, 64}}) {
      std::vector<uint64_t> seeds = Seeds(100, batch);
      seeds[position] = kSeed;
      Dream dream = Played(seeds);
      if (thread_tolerance_ > 0) {
        WorldState::CopyRows(before, Rows({0}), dream.state, Rows({position}));
      }
      const WorldStep step = Step(dream);
      const std::string what = "row " + std::to_string(position) + " of " + std::to_string(batch);
      ExpectAlike(dream.state.Select(Rows({position})), alone.state, tolerance_, what);
      EXPECT_TRUE(Alike(step.surprise.narrow(0, position, 1), expected.surprise, tolerance_))
          << what;
      EXPECT_TRUE(at::equal(step.terminated.narrow(0, position, 1), expected.terminated)) << what;
      if (expected.termination_probability.defined()) {
        EXPECT_TRUE(Alike(step.termination_probability.narrow(0, position, 1),
                          expected.termination_probability, tolerance_))
            << what;
      }
      if (tolerance_ == 0) {
        for (const TensorSpec& kind : world_.spec().observations) {
          EXPECT_TRUE(at::equal(world_.Observe(dream.state, kind.name, Rows({position})),
                                world_.Observe(alone.state, kind.name, Rows({0}))))
              << what << ": " << kind.name;
        }
      }
    }
  }

  void BeginTouchesOnlyItsRows() const {
    Dream dream = Played(Seeds(0, 5));
    const WorldState before = dream.state.Clone();
    at::Tensor mask = at::zeros({5}, at::kBool);
    world_.Begin(dream.state, mask, {}, Counters(dream.seeds, 0));
    ExpectAlike(dream.state, before, 0, "a mask of nothing");
    mask[1] = true;
    mask[4] = true;
    world_.Begin(dream.state, mask, {}, Counters(dream.seeds, 0));
    ExpectAlike(dream.state.Select(Rows({0, 2, 3})), before.Select(Rows({0, 2, 3})), 0,
                "rows that were not begun");
    ExpectAlike(dream.state.Select(Rows({1, 4})), Begun({1, 4}).state, tolerance_,
                "rows that were begun");
  }

  void FramesAreFollowed() const {
    if (!TakesFrames()) {
      Refuses([&](Dream& dream, const at::Tensor& frames, const RowCounters& rng) {
        world_.Follow(dream.state, Actions(dream), frames, rng, First());
      });
      return;
    }
    Dream a = Begun(Seeds(0, 3));
    Dream b{a.seeds, a.state.Clone(), a.step};
    Follow(a);
    const at::Tensor other = 255 - Frames(b);
    world_.Follow(b.state, Actions(b), other, Counters(b.seeds, 1), First());
    EXPECT_FALSE(at::equal(a.state[0], b.state[0])) << "the frame given must count";
  }

  void EpisodesBeginFromFrames() const {
    if (!world_.spec().frame || !world_.spec().begins_from_frames) {
      Refuses([&](Dream& dream, const at::Tensor& frames, const RowCounters& rng) {
        world_.Begin(dream.state, at::ones({2}, at::kBool), {.frames = frames}, rng);
      });
      return;
    }
    const std::vector<uint64_t> seeds = Seeds(0, 3);
    Dream begun{seeds, world_.MakeState(3)};
    world_.Begin(begun.state, at::ones({3}, at::kBool), {.frames = Frames(begun)},
                 Counters(seeds, 0));
    EXPECT_FALSE(at::equal(begun.state[0], Begun(seeds).state[0]))
        << "the frame to begin from must count";
  }

  /// A world that takes no pictures says so, whatever it is asked to do with them.
  void Refuses(
      const std::function<void(Dream&, const at::Tensor& frames, const RowCounters&)>& call) const {
    Dream dream = Begun(Seeds(0, 2));
    const WorldState before = dream.state.Clone();
    try {
      call(dream, at::zeros({2, 8, 8, 3}, at::kByte), Counters(dream.seeds, 1));
      ADD_FAILURE() << "frames were accepted";
    } catch (const std::invalid_argument& error) {
      const char* const words = world_.spec().frame ? "frames" : "has no pictures";
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
    ExpectAlike(dream.state, before, 0, "after frames were refused");
  }

  /// The observation of a step is the one that Observe gives afterwards, of all rows or some; which
  /// one is asked for changes nothing else.
  void AStepReturnsItsObservation() const {
    for (const bool given : {false, true}) {
      Dream first = Played(Seeds(0, 5));
      const WorldStep expected = given ? Follow(first) : Step(first);
      for (const TensorSpec& observation : world_.spec().observations) {
        Dream dream = Played(Seeds(0, 5));
        const WorldStep step =
            given ? Follow(dream, observation.name) : Step(dream, observation.name);
        const at::Tensor after = world_.Observe(dream.state, observation.name);
        const at::Tensor rows = Rows({3, 4, 0, 4, 3}).slice(0, 0, 5, 2);  // not side by side
        EXPECT_TRUE(Alike(world_.Observe(dream.state, observation.name, rows),
                          after.index_select(0, rows.to(after.device())), tolerance_))
            << observation.name;
        ExpectAlike(dream.state, first.state, 0, "with " + observation.name);
        EXPECT_TRUE(at::equal(step.surprise, expected.surprise)) << observation.name;
        EXPECT_TRUE(at::equal(step.terminated, expected.terminated)) << observation.name;
        ExpectShape(step.observation, observation, 5);
        EXPECT_TRUE(at::equal(step.observation, after)) << observation.name;
        step.observation.fill_(1);
        ExpectAlike(dream.state, first.state, 0, "after writing on " + observation.name);
      }
    }
  }

  /// A step writes to no other part of a state than the world says.
  void AStepOverwritesWhatItSays() const {
    for (const bool given : {false, true}) {
      Dream dream = Played(Seeds(0, 3));
      for (int steps = 0; steps < 6; ++steps) {
        const std::vector<OverwrittenField> named = world_.OverwrittenByStep(dream.state);
        const WorldState before = dream.state.Clone();
        given ? Follow(dream) : Step(dream);
        for (size_t field = 0; field < before.fields().size(); ++field) {
          const auto found = std::ranges::find(named, field, &OverwrittenField::field);
          if (found != named.end() && !found->slot.defined()) continue;
          at::Tensor then = before[field].cpu(), now = dream.state[field].cpu().clone();
          for (int64_t row = 0; found != named.end() && row < 3; ++row) {
            const int64_t slot = found->slot[row].item<int64_t>();
            now[row].select(found->dimension - 1, slot).zero_();
            then[row].select(found->dimension - 1, slot).zero_();
          }
          EXPECT_TRUE(at::equal(then, now)) << dream.state.fields()[field].name;
        }
      }
    }
  }

  void LookingChangesNothing() const {
    const Dream dream = Played(Seeds(0, 3));
    const WorldState before = dream.state.Clone();
    for (const TensorSpec& observation : world_.spec().observations) {
      at::Tensor seen = world_.Observe(dream.state, observation.name);
      seen.fill_(1);
    }
    for (const TensorSpec& observation : world_.spec().observations) {
      world_.Observe(dream.state, observation.name, Rows({0, 1, 2})).fill_(1);
    }
    ExpectAlike(dream.state, before, 0, "after looking, and writing on what was seen");
  }

  void ErrorsLeaveTheStateUntouched() const {
    Dream dream = Played(Seeds(0, 3));
    WorldState& state = dream.state;
    const WorldState before = state.Clone();
    const ActionSpec& spec = world_.spec().actions;
    const at::Tensor actions = SomeActions(spec, at::zeros({3}, at::kLong));
    const at::Tensor temperature = at::ones({3});
    const bool pictures = TakesFrames();
    const at::Tensor frames = pictures ? Frames(dream) : at::Tensor();
    const at::Tensor mask = at::ones({3}, at::kBool);
    const RowCounters rng = Counters(dream.seeds, 9), few = Counters({1, 2}, 9);

    const auto refuses_action = [&](const at::Tensor& wrong) {
      EXPECT_THROW(world_.Step(state, wrong, temperature, rng, First()), InvalidAction);
      if (!pictures) return;
      EXPECT_THROW(world_.Follow(state, wrong, frames, rng, First()), InvalidAction);
    };
    refuses_action(actions.narrow(0, 0, 2));
    refuses_action(actions.unsqueeze(1));
    refuses_action(actions.to(at::kDouble));
    if (spec.box) {
      const float low = spec.box->low[0], high = spec.box->high[0];
      for (const float number : {low - 0.1f, high + 0.1f, std::nanf("")}) {
        refuses_action(at::full_like(actions, number));
      }
    } else {
      refuses_action(at::full({3}, spec.start + spec.count(), at::kLong));
      refuses_action(at::full({3}, spec.start - 1, at::kLong));
    }

    const auto refuses = [&](const char* what, const std::function<void()>& call) {
      EXPECT_THROW(call(), std::invalid_argument) << what;
    };
    for (const float wrong : {0.0f, 1e-40f, -1.0f, std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN()}) {
      refuses("temperature",
              [&] { world_.Step(state, actions, at::full({3}, wrong), rng, First()); });
    }
    refuses("shape", [&] { world_.Step(state, actions, at::ones({1}), rng, First()); });
    refuses("dtype",
            [&] { world_.Step(state, actions, at::ones({3}, at::kDouble), rng, First()); });
    refuses("rng", [&] { world_.Step(state, actions, temperature, few, First()); });
    if (pictures) {
      const auto refuses_to_follow = [&](const at::Tensor& wrong, const RowCounters& counters) {
        refuses("follow", [&] { world_.Follow(state, actions, wrong, counters, First()); });
      };
      refuses_to_follow(frames, few);
      refuses_to_follow(frames.narrow(0, 0, 2), rng);
      refuses_to_follow(frames.to(at::kFloat), rng);
      refuses("kind", [&] { world_.Follow(state, actions, frames, rng, "no such thing"); });
      refuses("frames",
              [&] { world_.Begin(state, mask, {.frames = frames.narrow(0, 0, 2)}, rng); });
    }
    refuses("mask", [&] { world_.Begin(state, at::ones({2}, at::kBool), {}, rng); });
    refuses("mask", [&] { world_.Begin(state, at::ones({3}, at::kByte), {}, rng); });
    refuses("rng", [&] { world_.Begin(state, mask, {}, few); });
    refuses("kind", [&] { world_.Observe(state, "no such thing"); });
    refuses("kind", [&] { world_.Step(state, actions, temperature, rng, "no such thing"); });
    for (const TensorSpec& observation : world_.spec().observations) {
      for (const at::Tensor& wrong : {Rows({0, 3}), Rows({-1}), at::zeros({1})}) {
        refuses("rows", [&] { world_.Observe(state, observation.name, wrong); });
      }
    }
    refuses("rows", [&] { world_.MakeState(-1); });
    refuses("another world's state", [&] {
      WorldState foreign({{"no such field", at::zeros({3, 2})}});
      world_.Step(foreign, actions, temperature, rng, First());
    });
    ExpectAlike(state, before, 0, "after errors");
  }

  void NoRowsAreNoTrouble() const {
    Dream dream = Played({});
    EXPECT_EQ(Step(dream).reward.sizes(), at::IntArrayRef{0});
    for (const TensorSpec& observation : world_.spec().observations) {
      ExpectShapeOfNone(world_.Observe(dream.state, observation.name), observation);
      ExpectShapeOfNone(world_.Observe(dream.state, observation.name, Rows({})), observation);
      const WorldStep step = Step(dream, observation.name);
      ExpectShapeOfNone(step.observation, observation);
    }
  }

  static void ExpectShapeOfNone(const at::Tensor& tensor, const TensorSpec& spec) {
    std::vector<int64_t> shape = spec.shape;
    shape.insert(shape.begin(), 0);
    EXPECT_EQ(tensor.sizes(), at::IntArrayRef(shape)) << spec.name;
  }

  const World& world_;
  double tolerance_, thread_tolerance_;
};

/// How much the rows of a world may differ that says so itself (WorldSpec::exact_rows).
inline double ToleranceOf(const World& world) { return world.spec().exact_rows ? 0 : 1e-5; }

inline void CheckWorld(const World& world, double tolerance = 0, double thread_tolerance = 0) {
  WorldConformance(world, tolerance, thread_tolerance).CheckAll();
}

}  // namespace genie_env
