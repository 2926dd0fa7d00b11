#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "genie_env/data/action_rule.h"
#include "genie_env/io/npy.h"

namespace genie_env {

/// An array of a recording, in the file `name`.npy.
struct EpisodeColumn {
  std::string file() const { return name + ".npy"; }
  bool operator==(const EpisodeColumn& other) const {
    return name == other.name && type.name == other.type.name && row_shape == other.row_shape;
  }

  std::string name;
  NpyType type;
  std::vector<int64_t> row_shape;  ///< without the number of rows
};

/// Columns with a row a frame.
enum : size_t { kFrames, kActions, kRewards, kTerminations, kTruncations, kEpisodeColumns };

/// The arrays of a recording and its actions, as meta.json declares them.
struct EpisodeSchema {
  /// Reads the text of meta.json, which a file or an argument called `name` holds. Format 1
  /// declares nothing: actions are numbers from 0, and the size of the frames is left open. Throws
  /// FormatError.
  static EpisodeSchema Parse(const std::string& text, const std::string& name);

  bool box() const { return columns[kActions].type.name == kNpyFloat32.name; }
  EpisodeColumn final_frames() const;
  void SetFrameSize(int64_t height, int64_t width);
  bool operator==(const EpisodeSchema&) const = default;

  int64_t format_version = 0;
  std::array<EpisodeColumn, kEpisodeColumns> columns;
  bool has_final_frames = false;  ///< an array with a row an episode
  ActionRule actions;
};

/// Numbers of an action or pixels of a frame: the product of a row's shape.
int64_t ElementsOf(const std::vector<int64_t>& row_shape);

}  // namespace genie_env
