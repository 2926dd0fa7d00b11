#pragma once

#include "genie_env/core/transformer_constants.h"
#include "genie_env/models/genie/sizes.h"
#include "genie_env/models/model.h"

namespace genie_env {

/// Learned positions start uniformly within this distance of 0.
inline constexpr double kPositionBound = 0.2;

/// The times of the F frames of a clip, and which frames each attends to.
struct TimeGrid {
  at::Tensor rotations;  ///< complex64 [F, head / 2]: RoPE (Su et al. 2021)
  at::Tensor visible;    ///< bool [F, F]: [t, s], whether frame t attends to frame s
};

/// The rotations of RoPE for frames at `time`, int64 [F]: complex64 [F, head / 2], on the device of
/// `time`. Pair i turns by t / kRopeBase^(2i / head). The angles are computed in double: float32
/// would lose them in a dream of many thousand frames.
at::Tensor Rotations(const at::Tensor& time, int64_t head);

/// x: float32 [..., F, S, heads, head], turned frame by frame; rotations: complex64 [F, head / 2].
at::Tensor Rotate(const at::Tensor& x, const at::Tensor& rotations);

/// query, key, value: [..., heads, queries or keys, head]. visible: bool, broadcast to [..., heads,
/// queries, keys]; or undefined: all.
at::Tensor Attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                  const at::Tensor& visible);

/// Layer normalisation over the last dimension, in float32, with a gain (or none, where undefined)
/// and no bias.
at::Tensor Normalised(const at::Tensor& x, const at::Tensor& gain);

/// bool [frames, frames]: frame t attends to frames t - window + 1 .. t.
at::Tensor CausalWindow(int64_t frames, int64_t window, at::Device device);

/// The TimeGrid of a clip of consecutive frames.
TimeGrid CausalTime(int64_t frames, int64_t window, int64_t head, at::Device device);

/// The depthwise convolution over the 3 x 3 neighbours of every position, zero beyond the frame. x:
/// [N, S, width], positions row by row, `columns` a row; weight: [width, 1, 3, 3]. As x.
at::Tensor ConvolveNeighbours(const at::Tensor& x, const at::Tensor& weight, int64_t columns);

/// Normalised with a learned gain.
struct Norm : torch::nn::Module {
  explicit Norm(int64_t width);
  at::Tensor Forward(const at::Tensor& x) const;
  at::Tensor gain;
};

/// Self-attention with normalised queries and keys (Dehghani et al. 2023), and the norm before it.
/// (A gain of the keys would be redundant, because scores multiply it with that of the queries.)
struct Attention : torch::nn::Module {
  Attention(const BlockSizes& sizes, LayerNumbers& layers);

  /// x: [N, F, S, width]; every frame attends within itself.
  at::Tensor OverSpace(const at::Tensor& x) const;

  /// x: [N, F, S, width]; every position attends to itself in the frames that `time` makes visible.
  /// Returns frames `first` and later: [N, F - first, S, width].
  at::Tensor OverTime(const at::Tensor& x, const TimeGrid& time, int64_t first) const;

  struct Heads {
    at::Tensor query, key;  ///< float32 [N, F, S, heads, head]
    at::Tensor value;       ///< [N, F, S, heads, head]
  };
  Heads Project(const at::Tensor& x) const;

  int64_t heads;
  std::shared_ptr<Norm> norm;
  std::shared_ptr<Affine> qkv;
  at::Tensor query_gain;
  std::shared_ptr<Affine> output;
};

/// One block of the ST-transformer (Xu et al. 2020; Genie, Bruce et al. 2024): attention within a
/// frame, attention over time at each position, one feed-forward after both. All pre-norm. Where
/// the sizes have columns, it begins with a depthwise convolution over the 3 x 3 neighbours of each
/// position (Chu et al. 2021, Conditional Positional Encodings, section 3).
class StBlock : public torch::nn::Module {
 public:
  /// timeless: without attention over time, for networks of one frame.
  StBlock(const BlockSizes& sizes, bool timeless, LayerNumbers& layers);

  /// x: [N, F, S, width]. Returns frames `first` and later after the block. A timeless block does
  /// not read `time`.
  at::Tensor Forward(const at::Tensor& x, const TimeGrid& time, int64_t first) const;

 private:
  at::Tensor WithNeighbours(const at::Tensor& x) const;

  int64_t columns_;
  at::Tensor neighbours_;  // [width, 1, 3, 3]; undefined without the convolution
  std::shared_ptr<Attention> space_, time_;
  std::shared_ptr<Norm> norm_;
  std::shared_ptr<Affine> widen_, narrow_;
};

/// `count` blocks one after the other, and a norm.
class StTransformer : public torch::nn::Module {
 public:
  StTransformer(int64_t count, const BlockSizes& sizes, bool timeless, LayerNumbers& layers);

  /// x: [N, F, S, width]. float32 of the same shape.
  at::Tensor Forward(at::Tensor x, const TimeGrid& time) const;

  /// Returns frames `first` and later; the last block computes no others.
  at::Tensor ForwardFrom(int64_t first, at::Tensor x, const TimeGrid& time) const;

 private:
  std::vector<std::shared_ptr<StBlock>> blocks_;
  std::shared_ptr<Norm> norm_;
};
}  // namespace genie_env
