// What format 2 of recordings adds: continuous actions, actions of any number, final frames.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "genie_env/core/error.h"
#include "genie_env/data/episode_store.h"
#include "tests/cpp/files.h"

namespace genie_env {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;

constexpr int64_t kHeight = 2, kWidth = 3;
constexpr size_t kFrameBytes = kHeight * kWidth * 3;

std::string Meta(const std::string& actions, bool finals) {
  const std::string scalar = R"("shape": []})";
  return R"({"format_version": 2, "columns": {
 "frames": {"dtype": "uint8", "shape": [2, 3, 3]},
 "actions": )" +
         actions + R"(,
 "rewards": {"dtype": "float32", )" +
         scalar + R"(, "terminations": {"dtype": "bool", )" + scalar +
         R"(, "truncations": {"dtype": "bool", )" + scalar +
         (finals ? R"(, "final_frames": {"dtype": "uint8", "shape": [2, 3, 3]})" : "") + "}}";
}

const std::string kBox = R"({"dtype": "float32", "shape": [2]})";
const std::string kNumbered = R"({"dtype": "int64", "shape": []})";

/// An episode whose content is a function of its number.
struct Episode {
  explicit Episode(int number) {
    const size_t length = 1 + static_cast<size_t>(number) % 3;
    frames.assign(length * kFrameBytes, static_cast<uint8_t>(number));
    final_frame.assign(kFrameBytes, static_cast<uint8_t>(100 + number));
    for (size_t t = 0; t < length; ++t) {
      points.push_back(static_cast<float>(number));
      points.push_back(0.5F * static_cast<float>(t));
      numbers.push_back(static_cast<int64_t>(t) - 1);
    }
    rewards.assign(length, 1.0F);
    terminations.assign(length, 0);
    truncations.assign(length, 0);
    terminations.back() = 1;
  }

  EpisodeView Boxed() const {
    return {frames, {}, rewards, terminations, truncations, points, final_frame};
  }
  EpisodeView Numbered() const { return {frames, numbers, rewards, terminations, truncations}; }

  std::vector<uint8_t> frames, final_frame, terminations, truncations;
  std::vector<float> points, rewards;
  std::vector<int64_t> numbers;
};

class EpisodeColumns : public testing::Test {
 protected:
  void Record(int first, int last) const {
    EpisodeWriter writer(path_, kHeight, kWidth, Meta(kBox, true));
    for (int number = first; number < last; ++number) writer.Append(Episode(number).Boxed());
  }

  void ExpectHolds(int count) const {
    const EpisodeStore store(path_);
    ASSERT_EQ(store.num_episodes(), count);
    EXPECT_TRUE(store.actions().empty());
    ASSERT_TRUE(store.box());
    EXPECT_THAT(*store.box(), ElementsAre(2));
    ASSERT_EQ(store.final_frames().size(), static_cast<size_t>(count) * kFrameBytes);
    for (int number = 0; number < count; ++number) {
      const Episode wanted(number);
      const auto e = static_cast<size_t>(number);
      const auto start = static_cast<size_t>(store.episode_starts()[e]);
      EXPECT_THAT(store.box_actions().subspan(2 * start, wanted.points.size()),
                  ElementsAreArray(wanted.points));
      EXPECT_THAT(store.final_frames().subspan(e * kFrameBytes, kFrameBytes),
                  ElementsAreArray(wanted.final_frame));
    }
  }

  std::string Refusal() const {
    return TextOf<FormatError>([&] { EpisodeStore store(path_); });
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_.path() / "episodes";
};

TEST_F(EpisodeColumns, ContinuousActionsAndFinalFramesComeBack) {
  Record(0, 2);
  ExpectHolds(2);
  Record(2, 5);  // goes on
  ExpectHolds(5);
}

TEST_F(EpisodeColumns, NumberedActionsMayBeNegative) {
  EpisodeWriter writer(path_, kHeight, kWidth, Meta(kNumbered, false));
  writer.Append(Episode(2).Numbered());
  const EpisodeStore store(path_);
  EXPECT_THAT(store.actions(), ElementsAre(-1, 0, 1));
  EXPECT_FALSE(store.box() || store.has_final_frames());
  EXPECT_TRUE(store.box_actions().empty() && store.final_frames().empty());
}

TEST_F(EpisodeColumns, WhatTheColumnsDoNotHoldIsRefused) {
  const auto refused = [](EpisodeWriter& writer, const EpisodeView& view) {
    return TextOf<std::invalid_argument>([&] { writer.Append(view); });
  };
  EpisodeWriter writer(path_, kHeight, kWidth, Meta(kBox, true));
  const Episode good(1);
  EXPECT_EQ(refused(writer, good.Numbered()), "the episode is empty; record at least one step");
  EpisodeView both = good.Boxed();
  both.actions = good.numbers;
  EXPECT_EQ(refused(writer, both), "actions has 2 elements, but 2 actions expect 0");
  EpisodeView without = good.Boxed();
  without.final_frame = {};
  EXPECT_EQ(refused(writer, without), "final_frame has 0 elements, expected 18");
  Episode bad(1);
  bad.points[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(refused(writer, bad.Boxed()),
            "the episode's action 1 holds a number that is not finite");
  writer.Append(good.Boxed());  // it is as it was

  EpisodeWriter numbered(directory_.path() / "numbered", kHeight, kWidth, Meta(kNumbered, false));
  EpisodeView last = good.Numbered();
  last.final_frame = good.final_frame;
  EXPECT_EQ(refused(numbered, last),
            "final_frame has 18 elements, expected none: meta declares no final frames");
}

TEST_F(EpisodeColumns, OthersDoNotGoOn) {
  Record(0, 1);
  const auto refused = [&](const std::string& meta) {
    return TextOf<std::invalid_argument>([&] { EpisodeWriter(path_, kHeight, kWidth, meta); });
  };
  EXPECT_EQ(refused(Meta(kNumbered, true)),
            path_.string() +
                " holds actions of shape (2,) and final frames, but numbered actions "
                "and final frames were asked for: choose another directory");
  EXPECT_EQ(refused(Meta(kBox, false)),
            path_.string() +
                " holds actions of shape (2,) and final frames, but actions of shape "
                "(2,) without final frames were asked for: choose another directory");
  EXPECT_THAT(refused(R"({"format_version": 1})"),
              HasSubstr("holds episodes of format 2, but episodes of format 1 were asked for"));
  ExpectHolds(1);
}

TEST_F(EpisodeColumns, FilesThatMetaDoesNotDeclareAreRefused) {
  const auto meta = [&](const std::string& text) {
    return TextOf<std::invalid_argument>([&] { EpisodeWriter(path_, kHeight, kWidth, text); });
  };
  EXPECT_EQ(meta(R"({"format_version": 2})"), "meta has no \"columns\"");
  EXPECT_EQ(meta(Meta(R"({"dtype": "float64", "shape": []})", false)),
            "meta: \"columns.actions.dtype\" is \"float64\", expected \"float32\" or \"int64\"");
  EXPECT_EQ(meta(Meta(R"({"dtype": "int64", "shape": [3]})", false)),
            "meta: \"columns.actions.shape\" is [3], expected []");
  EXPECT_EQ(meta(Meta(R"({"dtype": "float32", "shape": [1024, 1024]})", false)),
            "meta: \"columns.actions.shape\" is [1024,1024], expected at most 1024 numbers");
  std::string extra = Meta(kNumbered, false);
  extra.insert(extra.size() - 2, R"(, "smells": {})");
  EXPECT_EQ(meta(extra),
            "meta: \"columns.smells\" is unknown to this genie_env: install one that "
            "matches it");
  EXPECT_EQ(TextOf<std::invalid_argument>([&] { EpisodeWriter(path_, 4, 4, Meta(kBox, true)); }),
            "frames of 4 x 4 were asked for, but meta declares 2 x 3");
  EXPECT_FALSE(std::filesystem::exists(path_));

  Record(0, 2);
  WriteBytes(path_ / "meta.json", Meta(R"({"dtype": "float32", "shape": [3]})", true));
  EXPECT_THAT(Refusal(), HasSubstr("actions.npy has the shape (3, 2), but its rows are (3,)"));
  WriteBytes(path_ / "meta.json", Meta(kNumbered, true));
  EXPECT_THAT(Refusal(), HasSubstr("actions.npy"));
}

TEST_F(EpisodeColumns, AFinalFrameThatIsLostEndsTheWholeEpisodes) {
  Record(0, 4);
  const auto file = path_ / "final_frames.npy";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - kFrameBytes - 1);
  const EpisodeStore store(path_);
  EXPECT_EQ(store.num_episodes(), 2);
  EXPECT_THAT(store.loss(), HasSubstr("final_frames.npy has 2 rows, but episode_starts.npy "
                                      "promises 3 for episode 2"));
  Record(2, 5);  // after setting the rest aside
  ExpectHolds(5);
  EXPECT_TRUE(std::filesystem::exists(path_ / "lost_1" / "actions.npy"));
}

}  // namespace
}  // namespace genie_env
