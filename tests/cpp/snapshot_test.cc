// Snapshots of the counting world: what they hold, where they may go, and their files.
#include "genie_env/env/snapshot.h"

#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <utility>

#include "counting_env.h"
#include "files.h"
#include "genie_env/io/file.h"
#include "genie_env/io/safetensors.h"
#include "genie_env/tensor/stored_tensors.h"
#include "random_world.h"

namespace genie_env {
namespace {

/// Three rows, two steps old; row 2 has just ended.
VecEnv Played(AutoresetMode mode = AutoresetMode::kNextStep) {
  VecEnv env = Counting(9, {.num_envs = 3, .autoreset_mode = mode, .seed = 40});
  env.Reset({.frames = Frames({0, 3, 7}), .temperature = at::tensor({2.0f, 3.0f, 4.0f})});
  env.Step(Longs({0, 0, 0}));
  env.Step(Longs({1, 2, 0}));
  return env;
}

TEST(Snapshot, RestoredRowsGoOnAsTheyWouldHave) {
  VecEnv env = Played();
  const Snapshot snapshot = env.TakeSnapshot();
  EXPECT_EQ(snapshot.rows(), 3);
  EXPECT_EQ(snapshot.world(), "counting");
  const VecEnvStep expected = env.Step(Longs({0, 1, 2}));
  EXPECT_EQ(TableOf(expected.observation),
            (Table{{3, 40, 0, 3, 0}, {6, 41, 0, 3, 1}, {0, 42, 1, 0, -1}}));
  env.Reset({.seeds = {{1, 2, 3}}, .temperature = at::tensor({9.0f, 9.0f, 9.0f})});
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(TableOf(env.Restore(snapshot)),
              (Table{{2, 40, 0, 2, 1}, {5, 41, 0, 2, 2}, {9, 42, 0, 2, 0}}));
    const VecEnvStep step = env.Step(Longs({0, 1, 2}));
    EXPECT_EQ(TableOf(step.observation), TableOf(expected.observation));
    EXPECT_EQ(Flat(step.surprise), Flat(expected.surprise));
    EXPECT_EQ(Flat(step.began), (Numbers{0, 0, 1}));
  }
}

TEST(Snapshot, OfSomeRowsIntoOthers) {
  VecEnv env = Played();
  const Snapshot snapshot = env.TakeSnapshot(Longs({1, 0}));
  EXPECT_EQ(TableOf(env.Restore(snapshot, Longs({0, 2}))),
            (Table{{5, 41, 0, 2, 2}, {5, 41, 0, 2, 2}, {2, 40, 0, 2, 1}}));
  EXPECT_EQ(Flat(env.Step(Longs({0, 0, 0})).surprise), (Numbers{3, 3, 2}));
  const Snapshot one = env.TakeSnapshot(Longs({2}));
  EXPECT_EQ(TableOf(env.Restore(one)),
            (Table{{3, 40, 0, 3, 0}, {3, 40, 0, 3, 0}, {3, 40, 0, 3, 0}}));
}

TEST(Snapshot, RowsThatNeverBeganMayTakeOne) {
  const Snapshot snapshot = Played().TakeSnapshot(Longs({0}));
  VecEnv env = Counting(9, {.num_envs = 2});
  env.Restore(snapshot, Longs({1}));
  EXPECT_EQ(TextOf<ResetNeeded>([&] {
              env.Step(Longs({0, 0}));
            }),
            "step before reset: row 0 has no episode; reset first");
  env.Restore(snapshot, Longs({0}));
  EXPECT_EQ(TableOf(env.Step(Longs({0, 1})).observation),
            (Table{{3, 40, 0, 3, 0}, {3, 40, 0, 3, 1}}));
}

TEST(Snapshot, NewSeedsBranchOff) {
  VecEnv env = Counting(9, {.num_envs = 2, .max_episode_steps = 3, .seed = 40});
  env.Reset();
  env.Reset();
  env.Step(Longs({0, 0}));
  EXPECT_EQ(TableOf(env.Restore(env.TakeSnapshot(), Longs({1, 0}), {{7, 8}})),
            (Table{{1, 41, 1, 1, 0}, {1, 40, 1, 1, 0}}));  // what it was told before
  const VecEnvStep step = env.Step(Longs({0, 0}));
  EXPECT_EQ(TableOf(step.observation), (Table{{2, 8, 0, 2, 0}, {2, 7, 0, 2, 0}}));
  EXPECT_EQ(Flat(env.Step(Longs({0, 0})).truncated), (Numbers{1, 1}));
  EXPECT_EQ(TableOf(env.Step(Longs({0, 0})).observation),
            (Table{{0, 8, 1, 0, -1}, {0, 7, 1, 0, -1}}));
}

TEST(Snapshot, ForkCopiesOneRowIntoOthers) {
  VecEnv env = Played();
  EXPECT_EQ(TableOf(env.Fork(1, Longs({0, 2}))),
            (Table{{5, 41, 0, 2, 2}, {5, 41, 0, 2, 2}, {5, 41, 0, 2, 2}}));
  EXPECT_EQ(TableOf(env.Step(Longs({0, 1, 2})).observation),
            (Table{{6, 41, 0, 3, 0}, {6, 41, 0, 3, 1}, {6, 41, 0, 3, 2}}));
  env.Fork(0, Longs({0, 1}), {{1, 2}});
  EXPECT_EQ(TableOf(env.Step(Longs({0, 0, 0})).observation),
            (Table{{7, 1, 0, 4, 0}, {7, 2, 0, 4, 0}, {7, 41, 0, 4, 0}}));
}

TEST(Snapshot, ItOutlivesItsEnvironmentAndNeverChanges) {
  std::optional<VecEnv> env = Played();
  const Snapshot snapshot = env->TakeSnapshot();
  const Snapshot copy = snapshot;
  env->Step(Longs({0, 0, 0}));
  env.reset();
  VecEnv other = Counting(9, {.num_envs = 3});
  const Table expected = TableOf(other.Restore(copy));
  other.Step(Longs({0, 0, 0}));
  EXPECT_EQ(TableOf(other.Restore(snapshot)), expected);
}

TEST(Snapshot, ARowThatEndedIsSteppedAsTheModeWantsIt) {
  const Snapshot ended = Played().TakeSnapshot(Longs({2}));
  VecEnv disabled = Played(AutoresetMode::kDisabled), same = Played(AutoresetMode::kSameStep);
  disabled.Restore(ended);
  same.Restore(ended);
  EXPECT_EQ(TextOf<ResetNeeded>([&] {
              disabled.Step(Longs({0, 0, 0}));
            }),
            "step: rows 0, 1 and 1 more have ended, and autoreset is disabled; reset them first");
  EXPECT_EQ(TextOf<ResetNeeded>([&] {
              same.Step(Longs({0, 0, 0}));
            }),
            "step: rows 0, 1 and 1 more have ended, and autoreset came in the step that ended it; "
            "reset them first");
}

TEST(Snapshot, AFileHoldsAllOfIt) {
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "dream.safetensors";
  VecEnv env = Played();
  env.Restore(env.TakeSnapshot(), Longs({0, 1, 2}), {{~uint64_t{0}, 1, 2}});
  env.TakeSnapshot().Save(file);
  VecEnv other = Counting(9, {.num_envs = 3});
  const Snapshot loaded = Snapshot::Load(file);
  EXPECT_EQ(loaded.rows(), 3);
  EXPECT_EQ(TableOf(other.Restore(loaded)), TableOf(env.Restore(env.TakeSnapshot())));
  for (int i = 0; i < 3; ++i) {
    const VecEnvStep ours = other.Step(Longs({0, 1, 2})), theirs = env.Step(Longs({0, 1, 2}));
    EXPECT_EQ(TableOf(ours.observation), TableOf(theirs.observation));
    EXPECT_EQ(Flat(ours.surprise), Flat(theirs.surprise));
    EXPECT_EQ(Flat(ours.began), Flat(theirs.began));
  }
  EXPECT_EQ(loaded.ToBytes(), ReadBytes(file));
}

TEST(Snapshot, AMalformedFileIsRefusedByName) {
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "dream.safetensors";
  const auto stored = [] {
    return TensorMap{{"seed", Longs({1, 2})},
                     {"episode", Longs({0, 0})},
                     {"step", Longs({0, 0})},
                     {"ended", Mask({false, true})},
                     {"temperature", at::full({2}, 1.0f)},
                     {"state.told", at::zeros({2, 5}, at::kLong)}};
  };
  const auto words = [&](const TensorMap& tensors, const char* format = "genie_env snapshot 1") {
    WriteTensors(file, tensors, {{"format", format}, {"world", "counting"}, {"fingerprint", ""}});
    std::string text = TextOf<FormatError>([&] { Snapshot::Load(file); });
    EXPECT_TRUE(text.starts_with(file.string())) << text;
    return text.substr(std::min(text.size(), file.string().size()));
  };
  const auto with = [&](const char* name, const at::Tensor& tensor) {
    TensorMap tensors = stored();
    tensors[name] = tensor;
    return words(tensors);
  };
  EXPECT_EQ(words(stored(), "genie_env snapshot 2"),
            " is no snapshot of this genie_env: its \"format\" is not \"genie_env snapshot 1\"");
  for (const char* name : {"seed", "episode", "step", "ended", "temperature"}) {
    TensorMap tensors = stored();
    tensors.erase(name);
    EXPECT_EQ(words(tensors), " has no tensor \"" + std::string(name) + "\"");
  }
  EXPECT_EQ(with("seed", at::zeros({2, 1}, at::kLong)),
            ": tensor \"seed\" is int64 [2, 1], expected int64 [any]");
  EXPECT_EQ(with("step", Longs({1})), ": tensor \"step\" is int64 [1], expected int64 [2]");
  EXPECT_EQ(with("step", Longs({0, -1})), ": tensor \"step\" holds -1, expected 0 to 2**32 - 1");
  EXPECT_EQ(with("episode", Longs({int64_t{1} << 32, 0})),
            ": tensor \"episode\" holds 4294967296, expected 0 to 2**32 - 1");
  EXPECT_EQ(with("temperature", at::full({2}, 0.0f)),
            ": temperature is 0, expected a finite number above 0 that float32 can hold");
  EXPECT_EQ(with("state.told", at::zeros({3, 5}, at::kLong)),
            ": tensor \"state.told\" has shape [3, 5], expected 2 rows");
  TensorMap stateless = stored();
  stateless.erase("state.told");
  EXPECT_EQ(words(stateless), " holds no state of a world");
  WriteBytes(file, "no tensors");
  TextOf<FormatError>([&] { Snapshot::Load(file); });
  EXPECT_EQ(TextOf<FormatError>([&] {
              Snapshot::Load(directory.path() / "none");
            }).starts_with((directory.path() / "none").string()),
            true);

  // It loads, but is of no such world.
  TensorMap other = stored();
  other["state.told"] = at::zeros({2, 4}, at::kLong);
  WriteTensors(file, other,
               {{"format", "genie_env snapshot 1"}, {"world", "counting"}, {"fingerprint", ""}});
  VecEnv env = Counting(9, {.num_envs = 2});
  EXPECT_EQ(TextOf<std::invalid_argument>([&] { env.Restore(Snapshot::Load(file)); }),
            "snapshot: its \"told\" is int64 [2, 4], but this world's is int64 [2, 5]; load the "
            "world with the dtype that the snapshot was taken with");
}

/// A world with options of a family.
std::shared_ptr<const World> Optional(int64_t passes, double noise, const std::string& dtype) {
  struct WithOptions : CountingWorld {
    WithOptions(int64_t passes, double noise, const std::string& dtype) : CountingWorld(9) {
      own = CountingWorld::spec();
      own.dtype = dtype;
      own.options = {{.spec = {.name = "passes", .type = OptionType::kInteger},
                      .default_value = int64_t{3},
                      .value = passes},
                     {.spec = {.name = "noise", .type = OptionType::kNumber},
                      .default_value = 0.5,
                      .value = noise}};
    }
    const WorldSpec& spec() const override { return own; }
    WorldSpec own;
  };
  return std::make_shared<WithOptions>(passes, noise, dtype);
}

TEST(Snapshot, IsRefusedByAWorldThatWasLoadedOtherwise) {
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "file";
  VecEnv taken(Optional(3, 0.5, "float32"), {});
  taken.Reset();
  taken.TakeSnapshot().Save(file);
  const auto refusal = [&](int64_t passes, double noise, const std::string& dtype) {
    VecEnv env(Optional(passes, noise, dtype), {});
    const Snapshot snapshot = Snapshot::Load(file);
    const std::string text = TextOf<std::invalid_argument>([&] { env.Restore(snapshot); });
    EXPECT_EQ(TextOf<std::invalid_argument>([&] { env.Reset({.snapshot = snapshot}); }), text);
    return text;
  };
  const std::string begin = "snapshot: it was taken with ",
                    middle = ", but this environment's world was loaded with ",
                    end = "; load the world as the snapshot's was";
  EXPECT_EQ(refusal(4, 0.5, "float32"), begin + "passes=3" + middle + "passes=4" + end);
  EXPECT_EQ(refusal(4, 0.50000000000000011, "bfloat16"),
            begin + "dtype=float32, passes=3 and noise=0.5" + middle +
                "dtype=bfloat16, passes=4 and noise=0.5000000000000001" + end);
  VecEnv same(Optional(3, 0.5, "float32"), {});
  same.Restore(Snapshot::Load(file));

  // Files that were written before these records may have been taken with anything.
  const MappedFile mapped(file);
  TensorMap tensors;
  const SafetensorsFile stored(mapped.bytes(), "file");
  for (const auto& [name, view] : stored.tensors()) tensors.emplace(name, CopyOf(view));
  std::map<std::string, std::string> metadata = stored.metadata();
  EXPECT_EQ(std::erase_if(metadata,
                          [](const auto& each) {
                            return each.first == "dtype" || each.first.starts_with("option.");
                          }),
            3);
  WriteTensors(file, tensors, metadata);
  EXPECT_EQ(refusal(3, 0.5, "float32"),
            "snapshot: it does not say with which dtype, passes and noise it was taken, and might "
            "go on otherwise; take it again with this genie_env");
  metadata = stored.metadata();
  metadata.emplace("option.beam", "2");
  WriteTensors(file, tensors, metadata);
  EXPECT_EQ(refusal(3, 0.5, "float32"), begin + "beam=2" + middle + "no option=beam" + end);
}

TEST(Snapshot, WhatIsRefusedChangesNothing) {
  VecEnv env = Counting(9, {.num_envs = 3}), untouched = Counting(9, {.num_envs = 3});
  EXPECT_EQ(TextOf<ResetNeeded>([&] { env.TakeSnapshot(Longs({1})); }),
            "snapshot before reset: row 1 has no episode; reset first");
  env.Reset();
  untouched.Reset();
  const Snapshot two = env.TakeSnapshot(Longs({0, 1}));
  const std::pair<std::string, std::function<void()>> refused[] = {
      {"rows: got none, expected at least one", [&] { env.TakeSnapshot(Longs({})); }},
      {"rows[0] is 3: there are 3 rows, numbered from 0", [&] { env.TakeSnapshot(Longs({3})); }},
      {"snapshot: it has 2 rows, expected 1 for all or one for each: 3", [&] { env.Restore(two); }},
      {"rows: got 1 twice, expected rows without repeats",
       [&] {
         env.Restore(two, Longs({1, 1}));
       }},
      {"rows[1] is 5: there are 3 rows, numbered from 0",
       [&] {
         env.Restore(two, Longs({1, 5}));
       }},
      {"rows: got float32 [2], expected int64 [2]", [&] { env.Restore(two, at::zeros({2})); }},
      {"seeds: got 1, expected one a row: 2",
       [&] {
         env.Restore(two, Longs({1, 2}), {{4}});
       }},
      {"rows[0] is -1: there are 3 rows, numbered from 0", [&] { env.Fork(-1, Longs({0})); }},
      {"seeds: got 2, expected one a row: 1",
       [&] {
         env.Fork(1, Longs({0}), {{4, 5}});
       }},
  };
  for (const auto& [words, call] : refused) {
    EXPECT_EQ(TextOf<std::invalid_argument>(call), words);
    EXPECT_EQ(TableOf(env.Step(Longs({0, 1, 2})).observation),
              TableOf(untouched.Step(Longs({0, 1, 2})).observation))
        << words;
  }
}

}  // namespace
}  // namespace genie_env
