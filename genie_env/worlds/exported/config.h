#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "genie_env/core/spec.h"
#include "genie_env/io/safetensors.h"
#include "genie_env/worlds/outcome_config.h"

namespace genie_env {

/// A tensor that an exported model takes or gives: [N, *shape] for N rows.
struct ExportedTensor {
  std::string name;
  StoredType type = StoredType::kFloat32;
  std::vector<int64_t> shape;

  int64_t numel() const;
};

/// Draws that an exported model takes: float32 [N, *shape].
struct ExportedNoise {
  std::string name;
  bool normal = false;  ///< standard normal; otherwise uniform in (0, 1)
  std::vector<int64_t> shape;

  int64_t numel() const;
};

/// What config.json says of a world of the exported family, beside its name.
struct ExportedConfig {
  std::string device;  ///< "cpu" or "cuda", that it was exported for
  ActionSpec actions;
  std::vector<ExportedTensor> context;  ///< what an episode begins from
  std::vector<ExportedNoise> noise;
  std::vector<ExportedTensor> state;     ///< at least one
  std::vector<TensorSpec> observations;  ///< may be empty where the model renders
  int64_t height = 0, width = 0;         ///< of the frames that it renders; 0: it renders none
  bool follows = false;                  ///< whether it can be given real frames
  Termination termination = Termination::kNever;
  bool exact_rows = false;  ///< "row_bits": whether a row's bits depend on that row alone
  int64_t frame_skip = 1;
  int64_t max_episode_steps = 0;
  double temperature = 1;

  bool renders() const { return height > 0; }

  /// Whether an episode can begin from a picture: its context is one tensor "frame", uint8
  /// [H, W, 3].
  bool begins_from_frames() const;
};

/// `text` is the JSON of `file`. Throws FormatError naming the file and the field that is missing,
/// of another type or out of range; other fields are ignored.
ExportedConfig ParseExportedConfig(const std::string& text, const std::string& file);

}  // namespace genie_env
