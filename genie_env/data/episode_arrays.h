#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "genie_env/io/npy.h"

// The files of an episode store, shared by its reader and its writer. A writer commits an episode
// in three steps: it writes the rows after the last ones of every array, then sets the headers of
// frames.npy to truncations.npy, then extends episode_starts.npy, whose last entry is the number of
// frames. Rows after that number belong to an episode whose writer was killed: readers ignore them,
// and the next writer drops them. After a power loss, the starts may be on the disk but not all
// rows that they count: then the longest run of whole episodes from the first on is what is there,
// and the next writer copies the rest away before it goes on.

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

/// The error in the flags of one episode, as text; empty if there is none.
std::string FlagComplaint(std::span<const uint8_t> terminations,
                          std::span<const uint8_t> truncations);

/// The error in the numbers of some actions, as text; empty if there is none.
std::string ActionComplaint(std::span<const int64_t> actions);

/// Throws FormatError, its text beginning with `name`, unless `text` is a JSON object with a
/// "format_version" that this library knows.
void CheckEpisodeMeta(const std::string& text, const std::string& name);

/// The arrays of a directory of episodes, mapped and checked against each other. Immutable.
struct EpisodeArrays {
  /// Throws FormatError naming the file.
  explicit EpisodeArrays(const std::filesystem::path& directory);

  std::string meta;  ///< the text of meta.json, which has passed CheckEpisodeMeta
  NpyArray starts;   ///< may hold more than num_episodes + 1 entries
  std::array<NpyArray, kEpisodeColumns> columns;
  int64_t num_episodes;
  int64_t num_frames;
  int64_t height;
  int64_t width;
  std::string loss;  ///< what a power loss took, as a sentence; empty where nothing is missing
};

}  // namespace genie_env
