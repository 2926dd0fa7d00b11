// Recordings of format 2, whose meta.json declares their arrays and their actions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "genie_env/core/error.h"
#include "genie_env/data/episode_store.h"
#include "tests/cpp/files.h"

namespace genie_env {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::StartsWith;

using Json = nlohmann::json;

Json Column(const char* dtype, const std::vector<int64_t>& shape = {}) {
  return {{"dtype", dtype}, {"shape", shape}};
}

/// Of frames of 2 x 3, with numbered actions -1, 0 and 1.
Json DiscreteMeta() {
  return {{"format_version", 2},
          {"columns",
           {{"frames", Column("uint8", {2, 3, 3})},
            {"actions", Column("int64")},
            {"rewards", Column("float32")},
            {"terminations", Column("bool")},
            {"truncations", Column("bool")}}},
          {"actions", {{"type", "discrete"}, {"meanings", {"a", "b", "c"}}, {"start", -1}}}};
}

/// With actions of a box of shape 1 x 2 and final frames.
Json BoxMeta() {
  Json meta = DiscreteMeta();
  meta["columns"]["actions"] = Column("float32", {1, 2});
  meta["episode_columns"]["final_frames"] = Column("uint8", {2, 3, 3});
  meta["actions"] = {{"type", "box"}, {"shape", {1, 2}}, {"low", {-1, 0}}, {"high", {1, 100}}};
  return meta;
}

/// T steps; what is not of the kind that meta declares stays empty.
struct DeclaredEpisode {
  DeclaredEpisode(size_t steps, bool box) {
    frames.resize(steps * 18, 7);
    rewards.resize(steps, 0.5F);
    terminations.resize(steps);
    truncations.resize(steps);
    terminations.back() = 1;
    if (!box) {
      for (size_t t = 0; t < steps; ++t) actions.push_back(static_cast<int64_t>(t % 3) - 1);
      return;
    }
    for (size_t t = 0; t < 2 * steps; ++t) box_actions.push_back(static_cast<float>(t % 2));
    final_frame.resize(18, static_cast<uint8_t>(steps));
  }

  EpisodeView view() const {
    return {frames, actions, rewards, terminations, truncations, box_actions, final_frame};
  }

  std::vector<uint8_t> frames;
  std::vector<int64_t> actions;
  std::vector<float> rewards;
  std::vector<uint8_t> terminations, truncations;
  std::vector<float> box_actions;
  std::vector<uint8_t> final_frame;
};

EpisodeWriter OpenDeclared(const std::filesystem::path& directory, const Json& meta) {
  return {directory, 2, 3, meta.dump()};
}

/// Episodes of one step, two steps and so on, up to `episodes` in the directory.
void RecordDeclared(const std::filesystem::path& directory, const Json& meta, int64_t episodes) {
  EpisodeWriter writer = OpenDeclared(directory, meta);
  while (writer.num_episodes() < episodes) {
    const auto steps = static_cast<size_t>(writer.num_episodes() + 1);
    writer.Append(DeclaredEpisode(steps, writer.has_box_actions()).view());
  }
}

std::vector<float> Floats(std::span<const float> values) { return {values.begin(), values.end()}; }

TEST(DeclaredEpisodes, NumberedActionsMayBeginBelowZero) {
  const TemporaryDirectory directory;
  RecordDeclared(directory.path(), DiscreteMeta(), 3);
  const EpisodeStore store(directory.path());
  EXPECT_THAT(store.actions(), ElementsAre(-1, -1, 0, -1, 0, 1));
  EXPECT_FALSE(store.has_box_actions());
  EXPECT_TRUE(store.box_actions().empty());
  EXPECT_FALSE(store.has_final_frames());
  EXPECT_TRUE(store.final_frames().empty());
  EXPECT_FALSE(std::filesystem::exists(directory.path() / "final_frames.npy"));
}

TEST(DeclaredEpisodes, PointsOfABoxAndFinalFramesComeBack) {
  const TemporaryDirectory directory;
  RecordDeclared(directory.path(), BoxMeta(), 1);
  RecordDeclared(directory.path(), BoxMeta(), 2);
  const EpisodeStore store(directory.path());
  EXPECT_TRUE(store.has_box_actions());
  EXPECT_THAT(store.action_shape(), ElementsAre(1, 2));
  EXPECT_THAT(store.box_actions(), ElementsAre(0, 1, 0, 1, 0, 1));
  EXPECT_TRUE(store.actions().empty());
  std::vector<uint8_t> finals(18, 1);
  finals.resize(36, 2);
  EXPECT_THAT(store.final_frames(), ElementsAreArray(finals));
  const std::string header = ReadBytes(directory.path() / "actions.npy").substr(0, 128);
  EXPECT_THAT(header, HasSubstr("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1, 2), }"));
}

TEST(DeclaredEpisodes, WrongEpisodesAreRefused) {
  const TemporaryDirectory directory;
  EpisodeWriter box = OpenDeclared(directory.path() / "box", BoxMeta());
  EpisodeWriter numbered = OpenDeclared(directory.path() / "numbered", DiscreteMeta());
  const auto refused = [&](EpisodeWriter& writer, auto spoil) {
    DeclaredEpisode episode(2, writer.has_box_actions());
    spoil(episode);
    return TextOf<std::invalid_argument>([&] { writer.Append(episode.view()); });
  };
  EXPECT_EQ(refused(box, [](DeclaredEpisode& e) { e.box_actions[3] = 101; }),
            "the episode's action 1 has 101 as its number 1, expected 0 to 100");
  EXPECT_EQ(refused(box,
                    [](DeclaredEpisode& e) {
                      e.box_actions[2] = std::numeric_limits<float>::quiet_NaN();
                    }),
            "the episode's action 1 has nan as its number 0, expected a finite number");
  EXPECT_EQ(refused(box, [](DeclaredEpisode& e) { e.final_frame.pop_back(); }),
            "final_frame has 17 elements, but 2 actions expect 18");
  EXPECT_EQ(refused(box,
                    [](DeclaredEpisode& e) {
                      e.actions = {0, 0};
                    }),
            "actions has 2 elements, but 2 actions expect 0");
  EXPECT_EQ(refused(box, [](DeclaredEpisode& e) { e.box_actions.pop_back(); }),
            "box_actions has 3 elements, but 1 actions expect 2");
  EXPECT_EQ(refused(numbered, [](DeclaredEpisode& e) { e.actions[1] = 2; }),
            "the episode's action 1 is 2, expected -1 to 1");
  EXPECT_EQ(refused(numbered, [](DeclaredEpisode& e) { e.final_frame.resize(18); }),
            "final_frame has 18 elements, but 2 actions expect 0");
  // What float32 rounds is no error: it is kept as it is.
  DeclaredEpisode rounded(1, true);
  rounded.box_actions = {-1.0000001F, 100.00001F};
  box.Append(rounded.view());
  EXPECT_EQ(Floats(EpisodeStore(directory.path() / "box").box_actions()), rounded.box_actions);
}

struct WrongMeta {
  const char* pointer;  ///< what to replace in the meta, or to remove
  Json value;           ///< null: remove
  std::string words;
};

TEST(DeclaredEpisodes, WrongDeclarationsAreRefused) {
  const std::vector<WrongMeta> cases = {
      {"/columns", nullptr, "meta has no \"columns\""},
      {"/columns", 3, "meta: \"columns\" is 3, expected an object"},
      {"/columns/rewards", nullptr, "meta has no \"columns.rewards\""},
      {"/columns/smells", Column("uint8"),
       "meta: \"columns\" has the unknown name \"smells\", expected frames, actions, rewards, "
       "terminations, truncations"},
      {"/columns/rewards/dtype", "float64",
       "meta: \"columns.rewards.dtype\" is \"float64\", expected \"float32\""},
      {"/columns/actions/dtype", "float64",
       "meta: \"columns.actions.dtype\" is \"float64\", expected \"int64\" or \"float32\""},
      {"/columns/frames/shape",
       {2, 3, 4},
       "meta: \"columns.frames.shape\" is [2,3,4], expected [height, width, 3]"},
      {"/columns/frames/shape", {2, 4, 3}, "meta: \"episode_columns.final_frames\" is "},
      {"/columns/frames/shape",
       {0, 3, 3},
       "meta: \"columns.frames.shape\" is [0,3,3], expected a list of at most 8 numbers from 1 to "
       "65535"},
      {"/columns/rewards/shape", {1}, "meta: \"columns.rewards.shape\" is [1], expected []"},
      {"/columns/actions/shape",
       {2, 1},
       "meta: \"actions.shape\" is [1,2], expected that of \"columns.actions\""},
      {"/columns/actions/shape", Json::array(),
       "meta: \"columns.actions.shape\" is [], expected the shape of 1 to 1024 numbers"},
      {"/columns/actions/shape",
       {60000, 60000, 60000, 60000, 60000},
       "meta: \"columns.actions.shape\" is [60000,60000,60000,60000,60000], expected the shape of "
       "1 "
       "to 1024 numbers"},
      {"/columns/actions/more", 1,
       "meta: \"columns.actions\" has the unknown name \"more\", expected dtype, shape"},
      {"/episode_columns/final_frames/shape",
       {3, 2, 3},
       "meta: \"episode_columns.final_frames\" is {\"dtype\":\"uint8\",\"shape\":[3,2,3]}, "
       "expected "
       "the shape of \"columns.frames\""},
      {"/episode_columns/seeds", Column("int64"),
       "meta: \"episode_columns\" has the unknown name \"seeds\", expected final_frames"},
      {"/actions",
       {{"type", "discrete"}, {"meanings", {"a"}}, {"start", 0}},
       "expected those of a box, as \"columns.actions\" is float32"},
      {"/actions/type", "text",
       "meta: \"actions.type\" is \"text\", expected \"discrete\" or "
       "\"box\""},
      {"/actions/low", {-1}, "meta: \"actions.low\" is [-1], expected a list of 2 finite numbers"},
      {"/actions/high",
       {1, -1},
       "meta: \"actions.high\" is [1,-1], expected numbers that are not below \"low\""},
      {"/actions/high",
       {1, 1e40},
       "meta: \"actions.high\" is [1,1e+40], expected a list of 2 finite numbers"},
  };
  const TemporaryDirectory directory;
  RecordDeclared(directory.path() / "sound", BoxMeta(), 2);
  for (const WrongMeta& wrong : cases) {
    SCOPED_TRACE(wrong.pointer);
    const Json::json_pointer pointer(wrong.pointer);
    Json meta = BoxMeta();
    if (wrong.value.is_null()) {
      meta[pointer.parent_pointer()].erase(pointer.back());
    } else {
      meta[pointer] = wrong.value;
    }
    EXPECT_THAT(
        TextOf<std::invalid_argument>([&] { OpenDeclared(directory.path() / "new", meta); }),
        HasSubstr(wrong.words));
    // In a file the same is a FormatError. (That frames are of another size is found in their
    // file.)
    WriteBytes(directory.path() / "sound" / "meta.json", meta.dump());
    const std::string text =
        TextOf<FormatError>([&] { EpisodeStore store(directory.path() / "sound"); });
    EXPECT_THAT(text, StartsWith((directory.path() / "sound").string()));
  }
  EXPECT_EQ(TextOf<std::invalid_argument>(
                [&] { EpisodeWriter(directory.path() / "new", 2, 4, DiscreteMeta().dump()); }),
            "meta declares frames of 2 x 3, but 2 x 4 were asked for");
  EXPECT_FALSE(std::filesystem::exists(directory.path() / "new"));
}

TEST(DeclaredEpisodes, ArraysThatAreNotAsDeclaredAreRefused) {
  struct Case {
    const char* file;
    const char* from;
    std::string to;
    std::string words;
  };
  const std::vector<Case> cases = {
      {"actions.npy", "'<f4'", "'<i4'",
       "actions.npy has elements of type \"<i4\", expected \"<f4\" (float32)"},
      {"actions.npy", "(3, 1, 2)", "(3, 2, 1)",
       "actions.npy holds rows of the shape (2, 1), but meta.json declares (1, 2)"},
      {"frames.npy", "(3, 2, 3, 3)", "(3, 3, 2, 3)",
       "frames.npy holds rows of the shape (3, 2, 3), but meta.json declares (2, 3, 3)"},
      {"final_frames.npy", "(2, 2, 3, 3)", "(2, 3, 2, 3)",
       "final_frames.npy holds rows of the shape (3, 2, 3), but meta.json declares (2, 3, 3)"},
      {"final_frames.npy", "'|u1'", "'|b1'",
       "final_frames.npy has elements of type \"|b1\", expected \"|u1\" (uint8)"},
  };
  for (const Case& wrong : cases) {
    SCOPED_TRACE(wrong.to);
    const TemporaryDirectory directory;
    RecordDeclared(directory.path(), BoxMeta(), 2);
    std::string bytes = ReadBytes(directory.path() / wrong.file);
    bytes.replace(bytes.find(wrong.from), std::string(wrong.from).size(), wrong.to);
    WriteBytes(directory.path() / wrong.file, bytes);
    const std::string text = TextOf<FormatError>([&] { EpisodeStore store(directory.path()); });
    EXPECT_THAT(text, HasSubstr(wrong.words));
    EXPECT_EQ(TextOf<FormatError>([&] { OpenDeclared(directory.path(), BoxMeta()); }), text);
  }
}

TEST(DeclaredEpisodes, ActionsThatAreNotAsDeclaredAreRefused) {
  const TemporaryDirectory directory;
  RecordDeclared(directory.path(), BoxMeta(), 2);
  std::string bytes = ReadBytes(directory.path() / "actions.npy");
  const float wrong = -1.5F;
  bytes.replace(bytes.size() - 8, 4, reinterpret_cast<const char*>(&wrong), 4);
  WriteBytes(directory.path() / "actions.npy", bytes);
  EXPECT_EQ(TextOf<FormatError>([&] { EpisodeStore store(directory.path()); }),
            (directory.path() / "actions.npy").string() +
                ": action 2 has -1.5 as its number 0, expected -1 to 1");
}

TEST(DeclaredEpisodes, MissingFinalFramesAreALoss) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path(), file = path / "final_frames.npy";
  RecordDeclared(path, BoxMeta(), 3);
  std::filesystem::resize_file(file, 128 + 18 + 5);
  EXPECT_EQ(EpisodeStore(path).num_episodes(), 1);
  EXPECT_THAT(
      EpisodeStore(path).loss(),
      HasSubstr("final_frames.npy has 1 rows, but episode_starts.npy promises 2 for episode "
                "1; the first 1 are whole"));
  RecordDeclared(path, BoxMeta(), 3);
  EXPECT_EQ(ReadBytes(path / "lost_1" / "final_frames.npy").size(), 128U);
  EXPECT_EQ(ReadBytes(path / "lost_1" / "actions.npy").size(), 128U + 5 * 8);
  EXPECT_EQ(EpisodeStore(path).num_episodes(), 3);
  EXPECT_EQ(EpisodeStore(path).loss(), "");
  std::filesystem::remove(file);
  EXPECT_EQ(TextOf<FormatError>([&] { EpisodeStore store(path); }),
            file.string() + ": No such file or directory");
}

TEST(DeclaredEpisodes, TheRowsOfAnEpisodeInFlightDoNotMatter) {
  const TemporaryDirectory directory;
  RecordDeclared(directory.path(), BoxMeta(), 2);
  const std::filesystem::path file = directory.path() / "final_frames.npy";
  std::filesystem::resize_file(file, 128 + 3 * 18);
  EXPECT_EQ(EpisodeStore(directory.path()).final_frames().size(), 36U);
  RecordDeclared(directory.path(), BoxMeta(), 2);
  EXPECT_EQ(std::filesystem::file_size(file), 128U + 36);
}

TEST(DeclaredEpisodes, ARecordingGoesOnAsItWasBegun) {
  const TemporaryDirectory directory;
  const std::string path = directory.path().string();
  const auto refused = [&](const Json& meta) {
    return TextOf<std::invalid_argument>([&] { OpenDeclared(directory.path(), meta); });
  };
  RecordDeclared(directory.path(), BoxMeta(), 1);
  EXPECT_EQ(
      refused({{"format_version", 1}}),
      path + " holds episodes of format 2, but meta is of format 1: choose another directory");
  Json wider = BoxMeta();
  wider["actions"]["high"][0] = 2;
  Json no_finals = BoxMeta();
  no_finals.erase("episode_columns");
  for (const Json& other : {wider, no_finals, DiscreteMeta()}) {
    EXPECT_EQ(refused(other), path +
                                  " holds episodes whose meta.json declares other columns or "
                                  "actions than meta: choose another directory");
  }
  EXPECT_EQ(Json::parse(EpisodeStore(directory.path()).meta()), BoxMeta());
}

TEST(DeclaredEpisodes, ADirectoryWithoutEpisodesIsBegunAnew) {
  const TemporaryDirectory directory;
  RecordDeclared(directory.path(), BoxMeta(), 0);
  // As a kill leaves it: rows of an episode that was never whole.
  std::filesystem::resize_file(directory.path() / "actions.npy", 128 + 24);
  for (const Json& meta : {Json{{"format_version", 1}}, DiscreteMeta(), BoxMeta()}) {
    RecordDeclared(directory.path(), meta, 0);
    EXPECT_EQ(EpisodeStore(directory.path()).meta(), meta.dump());
  }
  RecordDeclared(directory.path(), BoxMeta(), 2);
  EXPECT_EQ(EpisodeStore(directory.path()).num_frames(), 3);
}

TEST(DeclaredEpisodes, ActionsThatNobodyKnowsAreNotChecked) {
  const TemporaryDirectory directory;
  Json meta = DiscreteMeta();
  meta["actions"] = nullptr;
  DeclaredEpisode episode(1, false);
  episode.actions = {int64_t{1} << 60};
  OpenDeclared(directory.path(), meta).Append(episode.view());
  EXPECT_THAT(EpisodeStore(directory.path()).actions(), ElementsAre(int64_t{1} << 60));
}

}  // namespace
}  // namespace genie_env
