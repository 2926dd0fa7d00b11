#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "genie_env/kernels/cpu/packed_gemm.h"
#include "genie_env/kernels/cpu/transformer_kernels.h"
#include "genie_env/worlds/genie/transformer_weights.h"

namespace genie_env {

// A frozen ST-transformer on the CPU. One thread takes one row's frame through all of it: what lies
// between two products stays in that core's cache, no thread waits for another, and a row's bits
// depend on that row alone. (A batch below the number of cores leaves some of them idle.)

/// Positions in memory for `positions` that exist: products compute whole groups.
constexpr int64_t PaddedPositions(int64_t positions) { return (positions + 7) / 8 * 8; }

/// A linear map whose weights are packed in panels of columns.
template <typename Element>
class PackedLinear {
 public:
  using Bits = BitsOf<Element>;
  static constexpr int64_t kColumns = 64;
  static constexpr int64_t kPositions = 64;  // of one product

  explicit PackedLinear(const LinearWeights& weights);

  int64_t outputs() const { return outputs_; }

  /// Numbers from one position of the input to the next, the last of which may have to be zero.
  int64_t stride() const { return inner_; }

  /// Columns of memory that whole panels fill.
  int64_t padded_outputs() const { return (outputs_ + kColumns - 1) / kColumns * kColumns; }

  const float* bias() const { return bias_.const_data_ptr<float>(); }

  /// Calls done(first column, columns, products) panel by panel; products, [positions, kColumns]
  /// without bias, lie in `room`. positions: padded.
  template <typename Done>
  void ForEachPanel(int64_t positions, const Bits* input, float* room, const Done& done) const {
    for (int64_t column = 0; column < outputs_; column += kColumns) {
      Panel(column, positions, input, room, kColumns);
      done(column, std::min(kColumns, outputs_ - column), room);
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
  at::Tensor weight_;                 // [panels, inner x kColumns] as PackPanels says
  const Element* weights_ = nullptr;  // of weight_: asking a tensor takes time, panel after panel
  at::Tensor bias_;
};

/// Queries, keys and values: [padded, width].
struct Projected {
  at::Tensor query, key, value;
};

/// What one thread writes in between, for frames of up to so many positions.
template <typename Element>
struct TransformerRoom {
  using Bits = BitsOf<Element>;
  TransformerRoom(int64_t positions, int64_t width, int64_t time_scores);

  at::Tensor x;         ///< float32 [padded, width]: the residual stream; what pads it is finite
  at::Tensor input;     ///< [padded, width], of products
  at::Tensor products;  ///< float32 [padded, 3 width in whole panels]
  Projected projected;
  Projected first;                      ///< of the first block's attention over space, kept
  at::Tensor changed;                   ///< float32 [padded, width]: some of x
  at::Tensor packed_key, packed_value;  ///< one head's, as products read them
  at::Tensor scores;                    ///< float32 [padded, padded]
  at::Tensor shares;                    ///< [padded, padded]: softmax of the scores
  at::Tensor wide;                      ///< [padded, 4 width]
  at::Tensor time_scores;               ///< float32 [time_scores]
  std::vector<int32_t> places;          ///< 0, 1, 2, ...
};

/// When a frame happens, and the frames of its past.
template <typename Element>
struct PackedPast {
  /// Keys, turned, and values of the last frames: [blocks, 2, positions, slots, width]. Frame t is
  /// in slot t % slots.
  BitsOf<Element>* ring;
  int64_t time;          ///< frames before this one; the last `slots` of them are seen
  const float* cosines;  ///< [head], of this time, as HeadsBlock says
  const float* sines;    ///< [head]
  bool commit;           ///< whether this frame's keys and values go into the ring
};

template <typename Element>
class PackedTransformer {
 public:
  using Bits = BitsOf<Element>;

  /// window: frames that a layer looks at, this one and the last ones; of no meaning where
  /// timeless.
  PackedTransformer(const TransformerWeights& weights, int64_t positions, int64_t window);

  int64_t width() const { return sizes_.width; }
  int64_t time_scores() const { return TimeScores(sizes_.heads, slots_); }
  const BlockSizes& sizes() const { return sizes_; }

  /// Numbers of one row's ring.
  int64_t ring_size() const {
    return static_cast<int64_t>(blocks_.size()) * 2 * positions_ * slots_ * sizes_.width;
  }

  /// Takes room.x through all blocks. past: null where timeless. The last block computes only the
  /// positions `wanted`, ascending; afterwards the first rows of room.input hold them, normalised.
  /// Where none is wanted it stops when their keys and values are in the ring. changed: the
  /// positions, ascending, at which x is not what it was when this transformer last ran in this
  /// room; all of them, or else the first block's projections are kept for the others.
  void Run(TransformerRoom<Element>& room, const PackedPast<Element>* past,
           std::span<const int32_t> wanted, std::span<const int32_t> changed) const;

 private:
  struct Attention {
    explicit Attention(const AttentionWeights& weights);
    at::Tensor norm_gain, query_gain;
    PackedLinear<Element> qkv, output;
  };
  struct Block {
    explicit Block(const BlockWeights& weights);
    Attention space;
    std::vector<Attention> time;  // one, or none where timeless
    at::Tensor norm_gain;
    PackedLinear<Element> widen, narrow;
  };

  void Norm(TransformerRoom<Element>& room, const at::Tensor& x, const at::Tensor& gain,
            int64_t positions) const;
  void Project(TransformerRoom<Element>& room, const at::Tensor& x, const Attention& attention,
               int64_t positions, const float* cosines, const float* sines,
               const Projected& out) const;
  void ProjectChanged(TransformerRoom<Element>& room, const Attention& attention,
                      std::span<const int32_t> changed) const;
  void Add(TransformerRoom<Element>& room, const PackedLinear<Element>& linear, const Bits* input,
           int64_t positions) const;
  void OverSpace(TransformerRoom<Element>& room, const Attention& attention,
                 const Projected& projected) const;
  void OverTime(TransformerRoom<Element>& room, const Attention& attention, int64_t block,
                const PackedPast<Element>& past, std::span<const int32_t> places,
                bool output) const;
  void Feed(TransformerRoom<Element>& room, const Block& block, int64_t positions) const;

  BlockSizes sizes_;
  int64_t positions_, slots_;
  std::vector<Block> blocks_;
  at::Tensor norm_gain_;
  TransformerKernels<Bits> kernels_;
};

extern template class PackedLinear<float>;
extern template class PackedLinear<at::BFloat16>;
extern template struct TransformerRoom<float>;
extern template struct TransformerRoom<at::BFloat16>;
extern template class PackedTransformer<float>;
extern template class PackedTransformer<at::BFloat16>;

/// The raw numbers of a tensor of the products' type, as kernels/ call them.
template <typename Element>
BitsOf<Element>* BitsOfTensor(const at::Tensor& tensor) {
  return reinterpret_cast<BitsOf<Element>*>(tensor.mutable_data_ptr<Element>());
}

}  // namespace genie_env
