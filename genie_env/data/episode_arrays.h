#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "genie_env/data/episode_schema.h"
#include "genie_env/io/npy.h"

// The files of an episode store, shared by its reader and its writer. A writer commits an episode
// in three steps: it writes the rows after the last ones of every array, then sets the headers of
// frames.npy to truncations.npy and final_frames.npy, then extends episode_starts.npy, whose last
// entry is the number of frames. Rows after that number belong to an episode whose writer was
// killed: readers ignore them, and the next writer drops them. After a power loss, the starts may
// be on the disk but not all rows that they count: then the longest run of whole episodes from the
// first on is what is there, and the next writer copies the rest away before it goes on.

namespace genie_env {

inline constexpr const char* kEpisodeStarts = "episode_starts.npy";
inline constexpr const char* kEpisodeMeta = "meta.json";

/// The error in the flags of one episode, as text; empty if there is none.
std::string FlagComplaint(std::span<const uint8_t> terminations,
                          std::span<const uint8_t> truncations);

/// The arrays of a directory of episodes, mapped and checked against each other. Immutable.
struct EpisodeArrays {
  /// Throws FormatError naming the file.
  explicit EpisodeArrays(const std::filesystem::path& directory);

  std::string meta;  ///< the text of meta.json
  EpisodeSchema
      schema;       ///< what it declares, in format 1 with the size of the frames that are there
  NpyArray starts;  ///< may hold more than num_episodes + 1 entries
  std::array<NpyArray, kEpisodeColumns> columns;
  std::optional<NpyArray> final_frames;  ///< a row an episode
  int64_t num_episodes;
  int64_t num_frames;
  std::string loss;  ///< what a power loss took, as a sentence; empty where nothing is missing
};

}  // namespace genie_env
