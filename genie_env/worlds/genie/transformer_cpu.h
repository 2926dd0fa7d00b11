#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "genie_env/kernels/cpu/packed_gemm.h"
#include "genie_env/kernels/cpu/transformer_kernels.h"
#include "genie_env/tensor/shared_rows.h"
#include "genie_env/worlds/genie/transformer_weights.h"

namespace genie_env {

// A frozen ST-transformer on the CPU. As long as every thread has a row, one thread computes all
// blocks for the frame of one row: the activations stay in the cache of one core. Threads without a
// row share the loops of the others (tensor/shared_rows.h): over heads in attention over space,
// over ranges of positions in all else. A row's bits do not depend on which thread computes what:
// they depend on that row alone.

/// The positions in a group; products compute whole groups.
inline constexpr int64_t kPositionGroup = 8;

/// The rows of a buffer for `positions` positions.
constexpr int64_t PaddedPositions(int64_t positions) {
  return (positions + kPositionGroup - 1) / kPositionGroup * kPositionGroup;
}

/// A linear map whose weights are packed in panels of columns. Immutable.
template <typename Element>
class LinearCpu {
 public:
  using Bits = BitsOf<Element>;
  static constexpr int64_t kColumns = 64;
  static constexpr int64_t kPositions = 64;  // the most that one product computes

  explicit LinearCpu(const LinearWeights& weights);

  int64_t outputs() const { return outputs_; }

  /// Numbers from one position of the input to the next: the inputs, and a zero where they are odd.
  int64_t stride() const { return inner_; }

  /// Outputs rounded up to whole panels.
  int64_t padded_outputs() const { return (outputs_ + kColumns - 1) / kColumns * kColumns; }

  const float* bias() const { return bias_.const_data_ptr<float>(); }

  /// Calls done(first column, columns, products) for each panel. products: [positions, kColumns]
  /// without bias, in `buffer`. positions: padded.
  template <typename Done>
  void ForEachPanel(int64_t positions, const Bits* input, float* buffer, const Done& done) const {
    for (int64_t column = 0; column < outputs_; column += kColumns) {
      Panel(column, positions, input, buffer, kColumns);
      done(column, std::min(kColumns, outputs_ - column), buffer);
    }
  }

  /// out: [positions, padded_outputs()], without bias.
  void Write(int64_t positions, const Bits* input, float* out) const {
    for (int64_t column = 0; column < outputs_; column += kColumns) {
      Panel(column, positions, input, out + column, padded_outputs());
    }
  }

 private:
  void Panel(int64_t column, int64_t positions, const Bits* input, float* out,
             int64_t out_stride) const;

  int64_t inner_, outputs_;
  PackedPanels<Element> weight_;
  at::Tensor bias_;
};

/// A range of positions, of which the products compute whole groups.
struct Positions {
  int64_t first, padded;  ///< multiples of kPositionGroup
};

/// Queries, keys and values: [padded, width] each.
struct Projected {
  at::Tensor query, key, value;
};

/// The buffers of one thread, for frames of up to `positions` positions. Those of the thread whose
/// row it is hold the frame, each range of positions in its own place; `packed_key` to
/// `time_scores` are written by the thread that owns them alone.
template <typename Element>
struct TransformerWorkspace {
  using Bits = BitsOf<Element>;
  TransformerWorkspace(int64_t positions, int64_t width, int64_t time_scores);

  at::Tensor x;         ///< float32 [padded, width]: the residual stream; its padding is finite
  at::Tensor spare;     ///< float32 [padded, width]: the next x, where x cannot be changed in place
  at::Tensor input;     ///< [padded, width]: the input of a product
  at::Tensor products;  ///< float32 [padded, 3 width in whole panels]
  at::Tensor mixed;     ///< float32 [padded, width]: what attention over space gives
  Projected projected;
  Projected first;     ///< of the first block's attention over space; reused by later passes
  at::Tensor changed;  ///< float32 [padded, width]: selected rows of x
  at::Tensor wide;     ///< [padded, 4 width]
  std::vector<int32_t> places;          ///< 0, 1, 2, ...
  std::vector<int32_t> affected;        ///< positions that a convolution changes
  std::vector<bool> marked;             ///< whether each position is one of them
  at::Tensor packed_key, packed_value;  ///< of one head, packed for a product
  at::Tensor scores;                    ///< float32 [padded, padded]
  at::Tensor shares;                    ///< [padded, padded]: softmax of the scores
  at::Tensor time_scores;               ///< float32 [time_scores]
};

/// The time of a frame, and the KV cache of one row.
template <typename Element>
struct KvCacheView {
  /// Rotated keys, and values, of the last frames: [blocks, 2, positions, slots, width]. Frame t is
  /// in slot t % slots.
  BitsOf<Element>* data;
  int64_t time;          ///< frames before this one; the last `slots` of them are visible
  const float* cosines;  ///< [head], of this time; see HeadsBlock
  const float* sines;    ///< [head]
  bool commit;           ///< whether this frame's keys and values are written to the cache
};

template <typename Element>
class TransformerCpu {
 public:
  using Bits = BitsOf<Element>;
  using Workspace = TransformerWorkspace<Element>;
  using Loops = RowLoops<Workspace>;

  /// window: frames that attention over time covers, the current one included. It is not read
  /// where the blocks have no attention over time.
  TransformerCpu(const TransformerWeights& weights, int64_t positions, int64_t window);

  int64_t width() const { return sizes_.width; }
  int64_t time_scores() const { return TimeScores(sizes_.heads, slots_); }
  const BlockSizes& sizes() const { return sizes_; }

  /// Numbers in the KV cache of one row.
  int64_t kv_cache_size() const {
    return static_cast<int64_t>(blocks_.size()) * 2 * positions_ * slots_ * sizes_.width;
  }

  /// Runs all blocks on workspace.x. cache: null where the blocks have no attention over time. The
  /// last block computes only the positions `wanted`, ascending; afterwards the first rows of
  /// workspace.input hold them, normalised. Where none is wanted, the run ends when the keys and
  /// values are in the cache; workspace.input then holds what the last block made them of. changed:
  /// the positions, ascending, at which x has changed since this transformer last ran in this
  /// workspace; the first block reuses the projections of the others. loops: of the thread that
  /// owns the workspace.
  void Run(const Loops& loops, Workspace& workspace, const KvCacheView<Element>* cache,
           std::span<const int32_t> wanted, std::span<const int32_t> changed) const;

 private:
  struct Attention {
    explicit Attention(const AttentionWeights& weights);
    at::Tensor norm_gain, query_gain;
    LinearCpu<Element> qkv, output;
  };
  struct Block {
    explicit Block(const BlockWeights& weights);
    at::Tensor neighbours;  // [3, 3, width]; undefined without the convolution
    Attention space;
    std::vector<Attention> time;  // one, or none without attention over time
    at::Tensor norm_gain;
    LinearCpu<Element> widen, narrow;
  };

  // From one position to the next in workspace.products, so that each range has its own place.
  int64_t product_stride() const { return blocks_.front().space.qkv.padded_outputs(); }

  // Of the frame in `workspace`, for a range of positions.
  void Norm(Workspace& workspace, const at::Tensor& x, const at::Tensor& gain,
            Positions range) const;
  void Project(Workspace& workspace, const at::Tensor& x, const Attention& attention,
               Positions range, const KvCacheView<Element>* time, const Projected& out) const;
  void Add(Workspace& workspace, const LinearCpu<Element>& linear, const at::Tensor& input,
           Positions range) const;
  void AddOverSpace(Workspace& workspace, const Attention& attention, Positions range) const;
  void OverTime(Workspace& workspace, const Attention& attention, int64_t block,
                const KvCacheView<Element>& cache, std::span<const int32_t> places, Positions range,
                bool output, Workspace& own) const;
  void Feed(Workspace& workspace, const Block& block, Positions range) const;

  // Of the whole frame.
  // Swaps x and spare: no pointer to x outlives it.
  void AddNeighbours(const Loops& loops, Workspace& workspace, const Block& block) const;

  // The positions, ascending, at which a convolution of the first block changes where its input has
  // changed at `changed`. In `workspace`, or `changed` itself.
  std::span<const int32_t> Affected(Workspace& workspace, std::span<const int32_t> changed) const;
  void ProjectChanged(const Loops& loops, Workspace& workspace, const Attention& attention,
                      std::span<const int32_t> changed) const;
  void OverSpace(const Loops& loops, Workspace& workspace, const Projected& projected) const;

  BlockSizes sizes_;
  int64_t positions_, slots_;
  std::vector<Block> blocks_;
  at::Tensor norm_gain_;
  TransformerKernels<Bits> kernels_;
};

extern template class LinearCpu<float>;
extern template class LinearCpu<at::BFloat16>;
extern template struct TransformerWorkspace<float>;
extern template struct TransformerWorkspace<at::BFloat16>;
extern template class TransformerCpu<float>;
extern template class TransformerCpu<at::BFloat16>;

/// The data of a tensor of Element, in the type that kernels/ use.
template <typename Element>
BitsOf<Element>* BitsOfTensor(const at::Tensor& tensor) {
  return reinterpret_cast<BitsOf<Element>*>(tensor.mutable_data_ptr<Element>());
}

}  // namespace genie_env
