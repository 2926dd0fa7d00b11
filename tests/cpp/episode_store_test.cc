#include "genie_env/data/episode_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <map>
#include <thread>

#include "genie_env/core/error.h"
#include "tests/cpp/files.h"

namespace genie_env {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

struct FrameSize {
  int64_t height;
  int64_t width;
};
constexpr FrameSize kSmall = {2, 3};
constexpr const char* kMeta = R"({"format_version": 1, "game": "test"})";

/// Owns the arrays of an episode whose content is a function of its number.
struct Episode {
  explicit Episode(int number, FrameSize size = kSmall)
      : Episode(number, static_cast<size_t>(1 + number % 4), size) {}

  Episode(int number, size_t length, FrameSize size) {
    for (size_t i = 0; i < length * static_cast<size_t>(size.height * size.width * 3); ++i) {
      frames.push_back(static_cast<uint8_t>(31 * number + static_cast<int>(i)));
    }
    for (size_t t = 0; t < length; ++t) {
      actions.push_back(number - static_cast<int64_t>(t));
      rewards.push_back(static_cast<float>(number) + 0.25F * static_cast<float>(t));
    }
    terminations.resize(length);
    truncations.resize(length);
    (number % 3 == 0 ? truncations : terminations).back() = 1;
  }

  EpisodeView view() const { return {frames, actions, rewards, terminations, truncations}; }

  std::vector<uint8_t> frames;
  std::vector<int64_t> actions;
  std::vector<float> rewards;
  std::vector<uint8_t> terminations;
  std::vector<uint8_t> truncations;
};

template <typename T>
bool Holds(std::span<const T> stored, int64_t begin, const std::vector<T>& wanted) {
  return std::ranges::equal(stored.subspan(static_cast<size_t>(begin), wanted.size()), wanted);
}

/// Expects the episodes number 0, 1, 2, ... in the directory; returns how many there are.
int64_t CheckContents(const std::filesystem::path& directory, FrameSize size = kSmall) {
  const EpisodeStore store(directory);
  EXPECT_EQ(store.height(), size.height);
  EXPECT_EQ(store.width(), size.width);
  const std::span<const int64_t> starts = store.episode_starts();
  EXPECT_EQ(std::ssize(starts), store.num_episodes() + 1);
  EXPECT_EQ(starts.back(), store.num_frames());
  for (int e = 0; e < store.num_episodes(); ++e) {
    const Episode wanted(e, size);
    const auto index = static_cast<size_t>(e);
    EXPECT_EQ(starts[index + 1] - starts[index], std::ssize(wanted.actions));
    EXPECT_TRUE(Holds(store.frames(), starts[index] * size.height * size.width * 3, wanted.frames));
    EXPECT_TRUE(Holds(store.actions(), starts[index], wanted.actions));
    EXPECT_TRUE(Holds(store.rewards(), starts[index], wanted.rewards));
    EXPECT_TRUE(Holds(store.terminations(), starts[index], wanted.terminations));
    EXPECT_TRUE(Holds(store.truncations(), starts[index], wanted.truncations));
  }
  return store.num_episodes();
}

EpisodeWriter OpenWriter(const std::filesystem::path& directory, FrameSize size = kSmall) {
  return {directory, size.height, size.width, kMeta};
}

void Record(const std::filesystem::path& directory, int episodes, FrameSize size = kSmall) {
  EpisodeWriter writer = OpenWriter(directory, size);
  while (writer.num_episodes() < episodes) {
    writer.Append(Episode(static_cast<int>(writer.num_episodes()), size).view());
  }
}

/// No file can grow beyond `bytes`, as on a disk that is full.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : signal_before_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_before_);
  }

 private:
  rlimit before_{};
  void (*signal_before_)(int);
};

TEST(EpisodeStore, GivesBackWhatWasAppended) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "new" / "store";
  Record(path, 7);
  EXPECT_EQ(CheckContents(path), 7);
  Record(path, 9);
  EXPECT_EQ(CheckContents(path), 9);
  EXPECT_EQ(EpisodeStore(path).meta(), kMeta);
}

TEST(EpisodeStore, HeadersAreThoseOfNumPy) {
  const TemporaryDirectory directory;
  Record(directory.path(), 2);
  const std::string text = "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 2, 3, 3), }";
  const std::string header =
      std::string("\x93NUMPY\x01\x00\x76\x00", 10) + text + std::string(117 - text.size(), ' ');
  EXPECT_THAT(ReadBytes(directory.path() / "frames.npy"), StartsWith(header + "\n"));
  EXPECT_THAT(ReadBytes(directory.path() / "episode_starts.npy"), HasSubstr("'shape': (3,), }"));
}

TEST(EpisodeStore, AnOpenStoreDoesNotSeeLaterEpisodes) {
  const TemporaryDirectory directory;
  EpisodeWriter writer = OpenWriter(directory.path());
  writer.Append(Episode(0).view());
  const EpisodeStore store(directory.path());
  writer.Append(Episode(1).view());
  EXPECT_EQ(store.num_episodes(), 1);
  EXPECT_EQ(CheckContents(directory.path()), 2);
}

TEST(EpisodeStore, ADirectoryCanBeOpenedWhileItIsRecorded) {
  const TemporaryDirectory directory;
  EpisodeWriter writer = OpenWriter(directory.path());
  {
    const std::jthread recording([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        writer.Append(Episode(static_cast<int>(writer.num_episodes())).view());
      }
    });
    int64_t seen = 0;
    for (int i = 0; i < 200; ++i) {
      const int64_t now = EpisodeStore(directory.path()).num_episodes();
      ASSERT_GE(now, seen);
      seen = now;
    }
  }
  EXPECT_EQ(CheckContents(directory.path()), writer.num_episodes());
}

TEST(EpisodeStore, OneWriterADirectory) {
  const TemporaryDirectory directory;
  {
    EpisodeWriter writer = OpenWriter(directory.path());
    EXPECT_THAT(TextOf<std::runtime_error>([&] { OpenWriter(directory.path()); }),
                AllOf(StartsWith("process " + std::to_string(getpid()) + " on "),
                      EndsWith(" is recording into " + directory.path().string() +
                               ": wait until it has ended, or choose another directory")));
    EpisodeWriter moved = std::move(writer);
    moved.Append(Episode(0).view());
  }
  Record(directory.path(), 2);
  EXPECT_EQ(CheckContents(directory.path()), 2);
}

TEST(EpisodeStore, WrongEpisodesAreRefused) {
  const TemporaryDirectory directory;
  EpisodeWriter writer = OpenWriter(directory.path());
  writer.Append(Episode(0).view());
  const auto refused = [&](auto spoil) {
    Episode episode(1, 2, kSmall);
    spoil(episode);
    return TextOf<std::invalid_argument>([&] { writer.Append(episode.view()); });
  };
  EXPECT_EQ(refused([](Episode& e) { e.actions.clear(); }),
            "the episode is empty; record at least one step");
  EXPECT_EQ(refused([](Episode& e) { e.frames.pop_back(); }),
            "frames has 35 elements, but 2 actions expect 36");
  EXPECT_EQ(refused([](Episode& e) { e.rewards.pop_back(); }),
            "rewards has 1 elements, but 2 actions expect 2");
  EXPECT_EQ(refused([](Episode& e) { e.terminations.push_back(0); }),
            "terminations has 3 elements, but 2 actions expect 2");
  EXPECT_EQ(refused([](Episode& e) { e.truncations.clear(); }),
            "truncations has 0 elements, but 2 actions expect 2");
  EXPECT_EQ(refused([](Episode& e) { e.actions.back() = -1; }),
            "the episode's action 1 is -1, expected 0 or more");
  EXPECT_EQ(refused([](Episode& e) {
              e.terminations = {0, 0};
            }),
            "the episode has neither its termination nor its truncation set at its last frame");
  EXPECT_EQ(refused([](Episode& e) {
              e.truncations = {1, 1};
            }),
            "the episode ends at step 0, before its last frame");
  EXPECT_EQ(refused([](Episode& e) {
              e.truncations = {0, 2};
            }),
            "the episode has a flag that is neither 0 nor 1 at step 1");
  writer.Append(Episode(1).view());
  EXPECT_EQ(CheckContents(directory.path()), 2);
}

TEST(EpisodeStore, WrongWritersAreRefused) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "store";
  const auto refused = [&](int64_t height, int64_t width, const std::string& meta) {
    return TextOf<std::invalid_argument>([&] { EpisodeWriter(path, height, width, meta); });
  };
  EXPECT_EQ(refused(0, 3, kMeta), "frames of 0 x 3 were asked for, expected sides of 1 to 65535");
  EXPECT_EQ(refused(2, 65536, kMeta),
            "frames of 2 x 65536 were asked for, expected sides of 1 to 65535");
  EXPECT_EQ(refused(2, 3, "[]"), "meta is not a JSON object");
  EXPECT_EQ(refused(2, 3, "{}"), "meta has no \"format_version\", expected 1 to 2");
  for (const std::string version : {"0", "3", "1.0", "\"x\"", "null", "true", "1e+30", "[1]"}) {
    EXPECT_EQ(refused(2, 3, R"({"format_version": )" + version + "}"),
              "meta: \"format_version\" is " + version +
                  ", but this genie_env reads 1 to 2: install one that matches the recording");
  }
  EXPECT_FALSE(std::filesystem::exists(path)) << "nothing is made before all is checked";
  Record(path, 1);
  EXPECT_EQ(refused(3, 2, kMeta), path.string() +
                                      " holds frames of 2 x 3, but 3 x 2 were asked for: choose "
                                      "another directory");
  EXPECT_EQ(EpisodeStore(path).meta(), kMeta);
  WriteBytes(directory.path() / "file", "");
  EXPECT_THAT(TextOf<std::runtime_error>([&] { OpenWriter(directory.path() / "file" / "store"); }),
              AllOf(StartsWith("cannot create the directory "), EndsWith("Not a directory")));
}

TEST(EpisodeStore, SomebodyElsesFilesAreNotOverwritten) {
  const TemporaryDirectory directory;
  const std::string precious(1000, 'p');
  WriteBytes(directory.path() / "rewards.npy", precious);
  EXPECT_EQ(TextOf<FormatError>([&] { OpenWriter(directory.path()); }),
            directory.path().string() +
                " has a rewards.npy but no episode_starts.npy: it is not a directory of episodes; "
                "choose another one");
  EXPECT_EQ(ReadBytes(directory.path() / "rewards.npy"), precious);
}

TEST(EpisodeStore, SomebodyElsesMetaIsNotOverwritten) {
  const TemporaryDirectory directory;
  const std::string precious = R"({"a run": "of something else"})";
  WriteBytes(directory.path() / "meta.json", precious);
  EXPECT_EQ(TextOf<FormatError>([&] { OpenWriter(directory.path()); }),
            directory.path().string() +
                " has a meta.json but no frames.npy: it is not a directory of episodes; choose "
                "another one");
  EXPECT_EQ(ReadBytes(directory.path() / "meta.json"), precious);
}

/// Appends episodes until one does not fit under the limit; expects what the class promises.
void ExpectAFullDiskToLoseNothing(rlim_t limit, FrameSize size, const std::string& file) {
  SCOPED_TRACE("no file beyond " + std::to_string(limit) + " bytes");
  const TemporaryDirectory directory;
  EpisodeWriter writer = OpenWriter(directory.path(), size);
  const auto append = [&] {
    writer.Append(Episode(static_cast<int>(writer.num_episodes()), size).view());
  };
  std::string text;
  {
    const FileSizeLimit full(limit);
    text = TextOf<std::runtime_error>([&] {
      for (int i = 0; i < 100; ++i) append();
    });
  }
  const int64_t safe = writer.num_episodes();
  EXPECT_THAT(text, StartsWith("cannot write " + (directory.path() / file).string() + " ("));
  EXPECT_THAT(text, EndsWith(" bytes are missing): File too large. The episodes recorded before (" +
                             std::to_string(safe) +
                             ") are safe: make room on the disk, then go on recording into the "
                             "same directory"));
  EXPECT_EQ(CheckContents(directory.path(), size), safe);
  // What did not fit takes no room.
  EXPECT_EQ(std::filesystem::file_size(directory.path() / "actions.npy"),
            128 + 8 * static_cast<uintmax_t>(writer.num_frames()));
  append();
  append();
  EXPECT_EQ(CheckContents(directory.path(), size), safe + 2);
}

TEST(EpisodeStore, AFullDiskLosesNothing) {
  // Wherever in the largest file the disk ends.
  for (rlim_t limit = 128; limit < 128 + 200; limit += 7) {
    ExpectAFullDiskToLoseNothing(limit, kSmall, "frames.npy");
  }
  for (rlim_t limit = 144; limit < 144 + 40; ++limit) {
    ExpectAFullDiskToLoseNothing(limit, {1, 1}, "actions.npy");
  }
}

// With episodes of one step the starts are the largest file: it is the commit itself that fails.
TEST(EpisodeStore, AFullDiskAtTheCommitLosesNothing) {
  for (rlim_t room = 8; room < 16; ++room) {
    const TemporaryDirectory directory;
    EpisodeWriter writer = OpenWriter(directory.path(), {1, 1});
    const Episode step(0, 1, {1, 1});
    writer.Append(step.view());
    {
      const FileSizeLimit full(136 + room);
      EXPECT_THAT(TextOf<std::runtime_error>([&] { writer.Append(step.view()); }),
                  HasSubstr("episode_starts.npy (" + std::to_string(16 - room) +
                            " of 8 bytes are missing): File too large"));
    }
    EXPECT_EQ(CheckContents(directory.path(), {1, 1}), 1);
    EXPECT_EQ(std::filesystem::file_size(directory.path() / "actions.npy"), 136U);
    writer.Append(Episode(1, {1, 1}).view());
    EXPECT_EQ(CheckContents(directory.path(), {1, 1}), 2);
  }
}

/// Runs `call` in a process of its own, which `call` is expected not to survive.
template <typename Call>
pid_t Fork(Call call) {
  const pid_t child = fork();
  if (child != 0) return child;
  call();
  _exit(0);
}

/// What a kill left: whole episodes, to which more can be added.
int64_t CheckAfterKill(const std::filesystem::path& directory, FrameSize size) {
  int64_t episodes = 0;
  if (std::filesystem::exists(directory / "episode_starts.npy")) {
    episodes = CheckContents(directory, size);
  }
  Record(directory, static_cast<int>(episodes) + 2, size);
  EXPECT_EQ(CheckContents(directory, size), episodes + 2);
  return episodes;
}

TEST(EpisodeStore, AKillLosesAtMostTheEpisodeInFlight) {
  int64_t recorded = 0;
  for (int milliseconds = 0; milliseconds < 30; milliseconds += 3) {
    const TemporaryDirectory directory;
    const pid_t child = Fork([&] { Record(directory.path(), 1'000'000); });
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    recorded += CheckAfterKill(directory.path(), kSmall);
  }
  EXPECT_GT(recorded, 0) << "every kill came before the first episode";
}

// The signal of a file that would grow too large kills in the middle of a write, at any byte.
TEST(EpisodeStore, AKillWithinAWriteLosesAtMostTheEpisodeInFlight) {
  for (const FrameSize size : {kSmall, FrameSize{1, 1}}) {
    for (rlim_t limit = 0; limit < 128 + 120; limit += 5) {
      SCOPED_TRACE("killed at byte " + std::to_string(limit));
      const TemporaryDirectory directory;
      const pid_t child = Fork([&] {
        const rlimit deadly{limit, limit};
        setrlimit(RLIMIT_FSIZE, &deadly);
        std::signal(SIGXFSZ, SIG_DFL);
        const rlimit no_core{0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        Record(directory.path(), 1'000'000, size);
      });
      int status = 0;
      waitpid(child, &status, 0);
      ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
      CheckAfterKill(directory.path(), size);
    }
  }
}

/// A .npy file of version 1.0 with this header text.
std::string Npy(const std::string& header, size_t data_bytes) {
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(118 & 0xFF);
  bytes += '\0';
  return bytes + header + std::string(118 - header.size(), ' ') + std::string(data_bytes, '\0');
}

std::string Integers(const std::vector<int64_t>& values) {
  std::string bytes = Npy("{'descr': '<i8', 'fortran_order': False, 'shape': (" +
                              std::to_string(values.size()) + ",), }",
                          0);
  return bytes.append(reinterpret_cast<const char*>(values.data()), 8 * values.size());
}

struct Hostile {
  const char* what;
  const char* file;
  std::string bytes;
  std::string words;
};

// Each in place of the same file of a store with two episodes, of one step and of two.
std::vector<Hostile> HostileFiles() {
  const auto frames = [](const std::string& header, size_t data_bytes = 54) {
    return Npy(header, data_bytes);
  };
  return {
      {"empty", "actions.npy", "", " is not a .npy file: it does not begin as one"},
      {"other magic", "actions.npy", std::string(200, 'x'), " is not a .npy file"},
      {"only the magic", "actions.npy", "\x93NUMPY", " is not a .npy file"},
      {"version 9", "actions.npy", std::string("\x93NUMPY\x09\x00\x76\x00 {}", 13),
       " has version 9.0 of the .npy format; 1.0 to 3.0 can be read"},
      {"cut within the header", "actions.npy", Npy("{", 0).substr(0, 100),
       ": a header of 128 bytes is promised, but the file has 100 bytes"},
      {"huge header", "actions.npy",
       std::string("\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF", 12) + std::string(70000, ' '),
       ": a header of 4294967307 bytes is promised, but the file has 70012 bytes (and a header at "
       "most 65536)"},
      {"no dictionary", "actions.npy", Npy("[1, 2]", 24),
       ": the header is not a dictionary: \"{\" was expected at its byte 0"},
      {"not text", "actions.npy", Npy("{'descr\xFF'", 24), ": the header is not text"},
      {"cut dictionary", "actions.npy", Npy("{'descr': '<i8', 'shape': (3", 24),
       ": the header is not a dictionary: \")\" was expected at its byte 118"},
      {"a string without end", "actions.npy", Npy("{'descr': '<i8", 24),
       ": a string of the header does not end"},
      {"a missing key", "actions.npy", Npy("{'descr': '<i8', 'shape': (3,)}", 24),
       ": the header does not have the keys descr, fortran_order and shape, once each"},
      {"a key twice", "actions.npy",
       Npy("{'descr': '<i8', 'fortran_order': False, 'shape': (3,), 'shape': (3,)}", 24),
       ": the header does not have the keys descr, fortran_order and shape, once each"},
      {"an unknown key", "actions.npy", Npy("{'evil': '<i8'}", 24),
       ": the header has the unknown key \"evil\""},
      {"something behind the dictionary", "actions.npy",
       Npy("{'descr': '<i8', 'fortran_order': False, 'shape': (3,)} import os", 24),
       ": the header goes on after its dictionary"},
      {"column-major", "frames.npy",
       frames("{'descr': '|u1', 'fortran_order': True, 'shape': (3, 2, 3, 3)}"),
       ": fortran_order is not False; store the array row-major"},
      {"another type", "rewards.npy",
       Npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}", 24),
       " has elements of type \"<f8\", expected \"<f4\" (float32)"},
      {"objects, which NumPy would unpickle", "rewards.npy",
       Npy("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", 24),
       " has elements of type \"|O\", expected \"<f4\" (float32)"},
      {"too few dimensions", "frames.npy",
       frames("{'descr': '|u1', 'fortran_order': False, 'shape': (54,)}"),
       " has the shape (54,), expected 4 dimensions"},
      {"too many dimensions", "actions.npy",
       Npy("{'descr': '<i8', 'fortran_order': False, 'shape': (3, 1)}", 24),
       " has the shape (3, 1), expected 1 dimension"},
      {"a negative size", "actions.npy",
       Npy("{'descr': '<i8', 'fortran_order': False, 'shape': (-3,)}", 24),
       ": the shape in the header holds something that is not a count"},
      {"a size beyond 2^63", "actions.npy",
       Npy("{'descr': '<i8', 'fortran_order': False, 'shape': (9223372036854775808,)}", 24),
       ": the shape in the header holds something that is not a count"},
      {"a size that wraps", "frames.npy",
       frames("{'descr': '|u1', 'fortran_order': False, 'shape': (3, 4611686018427387904, 2, 4)}"),
       " has the shape (3, 4611686018427387904, 2, 4), whose rows have too many bytes"},
      {"unaligned", "actions.npy",
       std::string("\x93NUMPY\x01\x00\x3B\x00{'descr': '<i8', 'fortran_order': False, 'shape': "
                   "(3,), }  ",
                   69) +
           std::string(24, '\0'),
       ": a header of 69 bytes leaves the elements unaligned"},
      {"no row", "actions.npy", Npy("{'descr': '<i8', 'fortran_order': False, 'shape': (3,)}", 7),
       " has 0 rows, but episode_starts.npy promises 1 for episode 0: bring the file back from a "
       "copy"},
      {"a negative action", "actions.npy", Integers({2, 0, -1}),
       "actions.npy: action 2 is -1, expected 0 or more"},
      {"grey frames", "frames.npy",
       frames("{'descr': '|u1', 'fortran_order': False, 'shape': (3, 2, 3, 1)}"),
       " holds frames of 2 x 3 x 1, expected height x width x 3 with sides of 1 to 65535"},
      {"frames without height", "frames.npy",
       frames("{'descr': '|u1', 'fortran_order': False, 'shape': (3, 0, 3, 3)}"),
       " holds frames of 0 x 3 x 3, expected"},
      {"no starts", "episode_starts.npy", Integers({}), " does not begin with 0"},
      {"starts that begin late", "episode_starts.npy", Integers({1, 3}), " does not begin with 0"},
      {"starts that stand still", "episode_starts.npy", Integers({0, 1, 1, 3}),
       ": entry 2 is 1, not more than the one before it, 1"},
      {"starts that go back", "episode_starts.npy", Integers({0, 3, -1}),
       ": entry 2 is -1, not more than the one before it, 3"},
      {"starts beyond the frames", "episode_starts.npy", Integers({0, int64_t{1} << 62}),
       "frames.npy has 3 rows, but episode_starts.npy promises 4611686018427387904 for episode 0: "
       "bring the file back from a copy"},
      {"starts of zeros", "episode_starts.npy", Integers({0, 0, 0}),
       "episode_starts.npy has zeros from entry 1 on: bring the file back from a copy"},
      {"starts that join episodes", "episode_starts.npy", Integers({0, 3}),
       ": episode 0 ends at step 0, before its last frame"},
      {"a flag that is no flag", "terminations.npy",
       Npy("{'descr': '|b1', 'fortran_order': False, 'shape': (3,)}", 0) + "\x02" +
           std::string(2, '\0'),
       ": episode 0 has a flag that is neither 0 nor 1 at step 0"},
      {"meta that is no object", "meta.json", "7", "meta.json is not a JSON object"},
      {"meta cut short", "meta.json", "{\"a\": ", "meta.json is not valid JSON at byte 7"},
      {"another version", "meta.json", R"({"format_version": 3})",
       "meta.json: \"format_version\" is 3, but this genie_env reads 1 to 2: install one that "
       "matches the recording"},
      {"no version", "meta.json", "{}", "meta.json has no \"format_version\", expected 1 to 2"},
      {"a version that declares nothing", "meta.json", R"({"format_version": 2})",
       "meta.json has no \"columns\""},
  };
}

TEST(EpisodeStore, HostileFilesAreRefusedWithOneClearError) {
  for (const Hostile& hostile : HostileFiles()) {
    SCOPED_TRACE(hostile.what);
    const TemporaryDirectory directory;
    Record(directory.path(), 2);
    WriteBytes(directory.path() / hostile.file, hostile.bytes);
    const std::string text = TextOf<FormatError>([&] { EpisodeStore store(directory.path()); });
    EXPECT_THAT(text, StartsWith(directory.path().string()));
    EXPECT_THAT(text, HasSubstr(hostile.words));
    // A writer neither repairs nor destroys such a directory.
    EXPECT_EQ(TextOf<FormatError>([&] { OpenWriter(directory.path()); }), text);
    EXPECT_EQ(ReadBytes(directory.path() / hostile.file), hostile.bytes);
  }
}

std::map<std::string, size_t> RowBytes() {
  return {{"frames.npy", 18},      {"actions.npy", 8},     {"rewards.npy", 4},
          {"terminations.npy", 1}, {"truncations.npy", 1}, {"episode_starts.npy", 8}};
}

/// The rows of every array, by file, cut to whole ones.
std::map<std::string, std::string> ColumnBytes(const std::filesystem::path& directory) {
  std::map<std::string, std::string> columns;
  for (const auto& [file, row] : RowBytes()) {
    const std::string rows = ReadBytes(directory / file).substr(128);
    columns.emplace(file, rows.substr(0, rows.size() / row * row));
  }
  return columns;
}

struct PowerLoss {
  std::string what;
  std::string file;
  std::string bytes;  ///< what is left of the file
  int64_t whole;      ///< how many episodes are left
  std::string why;
};

// Of episodes of 1, 2, 3 and 4 steps, one file at a time did not reach the disk in full.
std::vector<PowerLoss> PowerLosses(const std::filesystem::path& directory) {
  const std::vector<int64_t> starts{0, 1, 3, 6, 10};
  const auto whole = [&](int64_t rows) {
    return std::ranges::count_if(starts, [&](int64_t start) { return start <= rows; }) - 1;
  };
  std::vector<PowerLoss> losses;
  for (const auto& [file, row] : RowBytes()) {
    if (file == "episode_starts.npy") continue;
    const std::string bytes = ReadBytes(directory / file);
    for (int64_t rows = 1; rows < 10; ++rows) {
      const auto first_lost = static_cast<size_t>(whole(rows));
      const std::string why =
          file + " has " + std::to_string(rows) + " rows, but episode_starts.npy promises " +
          std::to_string(starts[first_lost + 1]) + " for episode " + std::to_string(first_lost);
      losses.push_back({"the rest was not written", file,
                        bytes.substr(0, 128 + static_cast<size_t>(rows) * row + row / 2),
                        whole(rows), why});
      std::string header = bytes;
      header.replace(header.find("(10,"), 4, "( " + std::to_string(rows) + ",");
      losses.push_back({"the header was not written again", file, header, whole(rows), why});
    }
  }
  const std::string entries = ReadBytes(directory / "episode_starts.npy");
  for (int64_t left = 2; left < 5; ++left) {
    const size_t bytes = 128 + 8 * static_cast<size_t>(left);
    losses.push_back({"entries were not written", "episode_starts.npy",
                      entries.substr(0, bytes + 3), left - 1,
                      "episode_starts.npy has " + std::to_string(left) + " of 5 entries"});
    losses.push_back({"entries are zeros", "episode_starts.npy",
                      entries.substr(0, bytes) + std::string(entries.size() - bytes, '\0'),
                      left - 1,
                      "episode_starts.npy has zeros from entry " + std::to_string(left) + " on"});
    std::string middle = entries;
    middle.replace(bytes, 8, 8, '\0');
    losses.push_back({"an entry is zero", "episode_starts.npy", middle, left - 1,
                      "episode_starts.npy has zeros from entry " + std::to_string(left) + " on"});
  }
  losses.push_back({"an entry is beyond every frame", "episode_starts.npy",
                    Integers({0, 1, int64_t{1} << 62}), 1,
                    "frames.npy has 10 rows, but episode_starts.npy promises 4611686018427387904"});
  // The last episode is truncated, the others are terminated, but for the first.
  const std::string flags = ReadBytes(directory / "truncations.npy");
  losses.push_back({"a flag is not there", "truncations.npy",
                    flags.substr(0, flags.size() - 4) + std::string(4, '\0'), 3,
                    "episode 3 has no end flag"});
  const std::string ends = ReadBytes(directory / "terminations.npy");
  for (int64_t episode = 1; episode < 3; ++episode) {
    const auto first = 128 + static_cast<size_t>(starts[static_cast<size_t>(episode)]);
    std::string middle = ends;
    middle.replace(first, static_cast<size_t>(episode) + 1, static_cast<size_t>(episode) + 1, '\0');
    losses.push_back({"flags in the middle are zeros", "terminations.npy", middle, episode,
                      "episode " + std::to_string(episode) + " has no end flag"});
  }
  return losses;
}

TEST(EpisodeStore, APowerLossTakesTheLastEpisodesOnly) {
  const TemporaryDirectory directory;
  const std::filesystem::path sound = directory.path() / "sound", path = directory.path() / "store";
  Record(sound, 4);
  for (const PowerLoss& loss : PowerLosses(sound)) {
    SCOPED_TRACE(loss.file + ": " + loss.what);
    std::filesystem::remove_all(path);
    std::filesystem::copy(sound, path);
    WriteBytes(path / loss.file, loss.bytes);
    EXPECT_EQ(CheckContents(path), loss.whole);
    const std::string said = EpisodeStore(path).loss();
    EXPECT_THAT(said, StartsWith(path.string() + ": "));
    EXPECT_THAT(said, HasSubstr(" episodes are lost, as after a power loss"));
    EXPECT_THAT(said, HasSubstr(loss.why));
    EXPECT_THAT(said, EndsWith("; the first " + std::to_string(loss.whole) + " are whole"));
    EXPECT_EQ(ReadBytes(path / loss.file), loss.bytes) << "reading changes nothing";
    const auto left = ColumnBytes(path);
    {
      EpisodeWriter writer = OpenWriter(path);
      EXPECT_EQ(writer.loss(),
                said + "; what is left of the others was copied to " + (path / "lost_1").string());
      EXPECT_EQ(writer.num_episodes(), loss.whole);
    }
    for (const auto& [file, bytes] : left) {
      const std::string kept = ReadBytes(path / file).substr(128);
      const std::string first =
          file == "episode_starts.npy" ? kept.substr(0, kept.size() - 8) : kept;
      EXPECT_EQ(first + ReadBytes(path / "lost_1" / file).substr(128), bytes)
          << file << " is whole in two parts";
    }
    Record(path, 6);
    EXPECT_EQ(CheckContents(path), 6);
    EXPECT_EQ(EpisodeStore(path).loss(), "");
  }
}

TEST(EpisodeStore, WhatIsSetAsideStaysWhenMoreIsLost) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path();
  Record(path, 3);
  std::vector<std::string> aside;
  for (const char* name : {"lost_1", "lost_2"}) {
    std::filesystem::resize_file(path / "rewards.npy", 128 + 4 * 2);
    Record(path, 3);
    aside.push_back(ReadBytes(path / name / "frames.npy"));
    EXPECT_EQ(aside.back(), aside.front());
  }
  EXPECT_EQ(ReadBytes(path / "lost_1" / "frames.npy"), aside.front());
  EXPECT_EQ(CheckContents(path), 3);
}

TEST(EpisodeStore, MissingFilesAreNamed) {
  const TemporaryDirectory directory;
  const std::string path = directory.path().string();
  const auto error = [&](const std::filesystem::path& at) {
    return TextOf<FormatError>([&] { EpisodeStore store(at); });
  };
  Record(directory.path(), 1);
  EXPECT_EQ(error(directory.path() / "none"),
            path + "/none is not a directory of episodes: No such file or directory");
  EXPECT_EQ(error(directory.path() / "meta.json"),
            path + "/meta.json is not a directory of episodes: it is a file");
  std::filesystem::remove(directory.path() / "truncations.npy");
  EXPECT_EQ(error(directory.path()), path + "/truncations.npy: No such file or directory");
  EXPECT_EQ(TextOf<FormatError>([&] { OpenWriter(directory.path()); }), error(directory.path()));
  std::filesystem::remove(directory.path() / "episode_starts.npy");
  EXPECT_EQ(error(directory.path()),
            path + " is not a directory of episodes: it has no episode_starts.npy");
}

TEST(EpisodeStore, ActionsOfAnEpisodeInFlightDoNotMatter) {
  const TemporaryDirectory directory;
  Record(directory.path(), 2);
  WriteBytes(directory.path() / "actions.npy", Integers({0, 1, 0, -1}));
  EXPECT_EQ(CheckContents(directory.path()), 2);
}

TEST(EpisodeStore, ReadsArraysThatNumPyWroteInAnyForm) {
  const TemporaryDirectory directory;
  Record(directory.path(), 2);
  const std::string data = ReadBytes(directory.path() / "actions.npy").substr(128);
  // Version 2.0, the keys in another order, quotes of the other kind.
  std::string header = R"({"shape": (3,), "fortran_order": False, "descr": "<i8"})";
  header.resize(115, ' ');
  WriteBytes(directory.path() / "actions.npy",
             std::string("\x93NUMPY\x02\x00\x74\x00\x00\x00", 12) + header + "\n" + data);
  EXPECT_EQ(CheckContents(directory.path()), 2);
  EXPECT_THAT(EpisodeStore(directory.path()).actions(), ElementsAre(0, 1, 0));
}

TEST(EpisodeStore, AHeaderWithoutRoomIsNotOverrun) {
  const TemporaryDirectory directory;
  Record(directory.path(), 2);
  const std::string data = ReadBytes(directory.path() / "actions.npy").substr(128);
  std::string header = "{'descr':'<i8','fortran_order':False,'shape':(3,)}";
  header.resize(62, ' ');
  const std::string file = std::string("\x93NUMPY\x01\x00\x3E\x00", 10) + header + data;
  WriteBytes(directory.path() / "actions.npy", file);
  EXPECT_EQ(CheckContents(directory.path()), 2);
  EXPECT_EQ(TextOf<FormatError>([&] { OpenWriter(directory.path()); }),
            (directory.path() / "actions.npy").string() +
                ": a header of 72 bytes has no room to count more rows; save the array again with "
                "NumPy");
  EXPECT_EQ(ReadBytes(directory.path() / "actions.npy"), file);
}

}  // namespace
}  // namespace genie_env
