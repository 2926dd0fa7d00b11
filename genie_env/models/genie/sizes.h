#pragma once

#include <cstdint>

// Sizes of the three networks of Genie (Bruce et al. 2024), without LibTorch: a world's
// configuration can be read, and refused, by itself.

namespace genie_env {

/// What the networks that learn from video see: clips of T consecutive frames of one size, cut into
/// square patches.
struct ClipSizes {
  int64_t height = 64;
  int64_t width = 64;
  int64_t patch = 8;  ///< side of a patch; divides height and width

  int64_t positions() const { return (height / patch) * (width / patch); }
  int64_t pixels() const { return patch * patch * 3; }  ///< numbers a patch
  void Check() const;                                   ///< throws std::invalid_argument
};

/// Of a block of the ST-transformer.
struct BlockSizes {
  int64_t width = 192;
  int64_t heads = 3;  ///< each of width / heads, an even number

  int64_t head() const { return width / heads; }
  void Check() const;  ///< throws std::invalid_argument
};

struct TokenizerSizes {
  ClipSizes clip;
  BlockSizes block;
  int64_t encoder_blocks = 4;
  int64_t decoder_blocks = 4;
  int64_t codes = 1024;
  int64_t code_dimensions = 8;  ///< few: then nearly all codes find use (Yu et al. 2022)
  int64_t window = 4;  ///< frames that an encoder layer looks at: this one and the last ones
};

struct LatentActionSizes {
  ClipSizes clip;
  BlockSizes block;
  int64_t encoder_blocks = 4;
  int64_t decoder_blocks = 4;
  int64_t actions = 6;
  int64_t code_dimensions = 8;
  int64_t window = 8;  ///< frames that an encoder layer looks at: this one and the last ones
  /// What is left of motion after one transition, 0 to 1, 1 excluded.
  double action_decay = 0;
};

struct DynamicsSizes {
  int64_t positions = 64;  ///< tokens a frame
  int64_t codes = 1024;    ///< of the tokenizer
  BlockSizes block;
  int64_t blocks = 4;
  int64_t window = 16;  ///< frames that a layer looks at: this one and the last ones
  int64_t passes = 4;   ///< the most passes a frame that sampling will make; sets the mask ratios
};

}  // namespace genie_env
