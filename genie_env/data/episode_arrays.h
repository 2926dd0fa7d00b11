#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "genie_env/io/npy.h"

// The files of an episode store, shared by its reader and its writer. An episode is committed thus:
// its rows are first written behind the last ones of every array, then the headers of frames.npy to
// truncations.npy are set; only then does episode_starts.npy grow, whose last entry says how many
// frames there are. Rows behind it belong to an episode that was in flight when a writer was
// killed: readers do not look at them, and the next writer drops them.

namespace genie_env {

struct EpisodeColumn {
  const char* file;
  NpyType type;
};
enum : size_t { kFrames, kActions, kRewards, kTerminations, kTruncations, kEpisodeColumns };
inline constexpr std::array<EpisodeColumn, kEpisodeColumns> kColumns{{
    {"frames.npy", kNpyUInt8},
    {"actions.npy", kNpyInt64},
    {"rewards.npy", kNpyFloat32},
    {"terminations.npy", kNpyBool},
    {"truncations.npy", kNpyBool},
}};
inline constexpr const char* kEpisodeStarts = "episode_starts.npy";
inline constexpr const char* kEpisodeMeta = "meta.json";

/// What is wrong with the flags of one episode; empty if nothing is.
std::string FlagComplaint(std::span<const uint8_t> terminations,
                          std::span<const uint8_t> truncations);

/// What is wrong with the numbers of some actions; empty if nothing is.
std::string ActionComplaint(std::span<const int64_t> actions);

/// The arrays of a directory of episodes, mapped and checked against each other. Immutable.
struct EpisodeArrays {
  /// Throws FormatError naming the file.
  explicit EpisodeArrays(const std::filesystem::path& directory);

  NpyArray starts;
  std::array<NpyArray, kEpisodeColumns> columns;
  int64_t num_episodes;
  int64_t num_frames;
  int64_t height;
  int64_t width;
};

}  // namespace genie_env
