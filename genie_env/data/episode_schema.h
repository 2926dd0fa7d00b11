#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "genie_env/io/npy.h"

namespace genie_env {

/// A file of an episode store, but for the starts.
struct EpisodeColumn {
  const char* file;
  NpyType type;
  std::vector<int64_t> row_shape;  ///< of what is stored a frame, or an episode
  bool of_episodes = false;        ///< whether it has a row an episode, not a row a frame

  bool operator==(const EpisodeColumn& other) const;
};

// The columns of every store, in order, and the one that only some have.
enum : size_t { kFrames, kActions, kRewards, kTerminations, kTruncations, kFinalFrames };

/// What the episodes of a store consist of, as its meta.json declares.
struct EpisodeSchema {
  int64_t format_version = 0;
  /// Of frames; 0 where format 1 does not say it, but the arrays alone.
  int64_t height = 0, width = 0;
  std::optional<std::vector<int64_t>> box;  ///< shape of an action of floats; empty: numbered ones
  bool final_frames = false;

  /// Format 1 declares no columns: frames of the size that the arrays have, numbered actions from
  /// 0, no final frames. Throws FormatError, its text beginning with `name`, unless `text` is a
  /// JSON object that declares what this library knows.
  static EpisodeSchema Parse(const std::string& text, const std::string& name);

  /// Numbers of an action.
  int64_t action_size() const;
  std::vector<EpisodeColumn> columns() const;
};

}  // namespace genie_env
