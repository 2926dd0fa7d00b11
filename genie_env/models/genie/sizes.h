#pragma once

#include <cstdint>

#include "genie_env/models/layers/outcome_sizes.h"

// Sizes of the three networks of Genie (Bruce et al. 2024), without LibTorch: a world's
// configuration can be read, and refused, by itself.

namespace genie_env {

/// Clips of T consecutive frames of one size, cut into square patches: the input of the networks
/// that learn from video.
struct ClipSizes {
  int64_t height = 64;
  int64_t width = 64;
  int64_t patch = 8;  ///< side of a patch; divides height and width

  int64_t columns() const { return width / patch; }  ///< patches in a row
  int64_t positions() const { return (height / patch) * columns(); }
  int64_t pixels() const { return patch * patch * 3; }  ///< numbers a patch
  void Check() const;                                   ///< throws std::invalid_argument
};

/// The sizes of a block of the ST-transformer.
struct BlockSizes {
  int64_t width = 192;
  int64_t heads = 3;  ///< each of width / heads, an even number
  /// Tokens in a row of the frame, of blocks that begin with a convolution over neighbours; 0: of
  /// blocks without. The dynamics alone may have it; their tokens are then embedded with those of
  /// the frame before, too.
  int64_t columns = 0;

  int64_t head() const { return width / heads; }
  void Check() const;  ///< throws std::invalid_argument
};

struct TokenizerSizes {
  ClipSizes clip;
  BlockSizes block;
  int64_t encoder_blocks = 4;
  int64_t decoder_blocks = 4;
  int64_t codes = 1024;
  int64_t code_dimensions = 8;  ///< few, so that nearly all codes are used (Yu et al. 2022)
  int64_t window = 4;  ///< attention window of the encoder, in frames, the current included
};

struct LatentActionSizes {
  ClipSizes clip;
  BlockSizes block;
  int64_t encoder_blocks = 4;
  int64_t decoder_blocks = 4;
  int64_t actions = 6;
  int64_t code_dimensions = 8;
  int64_t window = 8;  ///< attention window of the encoder, in frames, the current included
  /// The share of the motion that is left after one transition, from 0 to below 1.
  double action_decay = 0;
};

struct DynamicsSizes {
  int64_t positions = 64;  ///< tokens a frame
  int64_t codes = 1024;    ///< the tokenizer's
  BlockSizes block;
  int64_t blocks = 4;
  int64_t window = 16;  ///< attention window in frames, the current included
  int64_t passes = 4;   ///< the most MaskGIT passes a frame in sampling; sets the mask ratios

  /// Numbers of a frame's features (worlds/genie/frozen_genie.h).
  int64_t features() const { return kFeatureAreas * block.width; }
  static constexpr int64_t kFeatureAreas = 4;  ///< quarters of the frame
};

/// Of the heads that judge reward and termination on the features of the dynamics.
struct HeadsSizes {
  int64_t features = 768;           ///< DynamicsSizes::features()
  int64_t actions = 6;              ///< latent actions
  bool reward = false;              ///< whether rewards are learned
  bool termination = false;         ///< whether terminations are
  bool judges_termination = false;  ///< whether by the next frame too

  /// Of the head that reads the next frame too.
  OutcomeSizes outcome() const {
    return {.reward = reward, .termination = termination && judges_termination};
  }
  /// Of the head that does not.
  OutcomeSizes ending() const {
    return {.reward = false, .termination = termination && !judges_termination};
  }
  int64_t outcome_inputs() const { return ending_inputs() + features; }
  int64_t ending_inputs() const { return features + actions; }
};

}  // namespace genie_env
