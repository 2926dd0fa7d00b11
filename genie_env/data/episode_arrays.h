#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "genie_env/data/episode_schema.h"
#include "genie_env/io/npy.h"

// The files of an episode store, shared by its reader and its writer. A writer commits an episode
// in three steps: it writes the rows after the last ones of every array, then sets the headers of
// all columns, then extends episode_starts.npy, whose last entry is the number of frames. Rows
// after that number belong to an episode whose writer was killed: readers ignore them, and the next
// writer drops them. After a power loss, the starts may be on the disk but not all rows that they
// count: then the longest run of whole episodes from the first on is what is there, and the next
// writer copies the rest away before it goes on.

namespace genie_env {

inline constexpr const char* kEpisodeStarts = "episode_starts.npy";
inline constexpr const char* kEpisodeMeta = "meta.json";

/// The error in the flags of one episode, as text; empty if there is none.
std::string FlagComplaint(std::span<const uint8_t> terminations,
                          std::span<const uint8_t> truncations);

/// The error in some actions of a store of this schema, as text; empty if there is none. Format 1
/// has no negative ones; floats are finite. Only those of the schema are read.
std::string ActionComplaint(const EpisodeSchema& schema, std::span<const int64_t> numbered,
                            std::span<const float> floats);

/// The arrays of a directory of episodes, mapped and checked against each other. Immutable.
struct EpisodeArrays {
  /// Throws FormatError naming the file.
  explicit EpisodeArrays(const std::filesystem::path& directory);

  std::string meta;      ///< the text of meta.json, which has passed EpisodeSchema::Parse
  EpisodeSchema schema;  ///< with the size of frames
  NpyArray starts;       ///< may hold more than num_episodes + 1 entries
  std::vector<NpyArray> columns;
  int64_t num_episodes = 0;
  int64_t num_frames = 0;
  std::string loss;  ///< what a power loss took, as a sentence; empty where nothing is missing

  /// Rows of a column that whole episodes have.
  int64_t rows(size_t column) const { return column == kFinalFrames ? num_episodes : num_frames; }
};

}  // namespace genie_env
