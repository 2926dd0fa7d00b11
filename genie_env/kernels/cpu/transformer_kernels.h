#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

namespace genie_env {

// The arithmetic of a frozen ST-transformer (models/layers/st_transformer.h) between its matrix
// products, for the positions of one frame, on the CPU. `Element` is the type of the products'
// inputs: float, or the bits of a bfloat16. All arrays are row-major; a stride is the distance from
// one position to the next, in numbers.

/// Layer normalisation with a gain.
template <typename Element>
struct NormBlock {
  int64_t positions;
  int64_t width;
  const float* x;     ///< [positions, width]
  const float* gain;  ///< [width]
  Element* out;       ///< [positions, width]
};

/// Splits one product into queries, keys and values and adds the bias. Queries and keys are
/// normalised head by head, queries are scaled by a gain, and both are rotated by the frame's time
/// (RoPE) unless cosines and sines are null.
template <typename Element>
struct HeadsBlock {
  int64_t positions;
  int64_t heads;
  int64_t head;           ///< numbers a head, even
  const float* products;  ///< [positions, 3, heads, head], without bias
  int64_t product_stride;
  const float* bias;        ///< [3, heads, head]
  const float* query_gain;  ///< [head]
  const float* cosines;     ///< [head], those of 2i and 2i + 1 equal; or null
  const float* sines;       ///< [head], those of 2i negative; or null
  Element* query;           ///< [positions, heads, head]
  Element* key;             ///< [positions, heads, head]
  Element* value;           ///< [positions, heads, head]
};

/// Attention of every position to itself in past frames and in the current one. Keys and values of
/// past frames are in the slots of a KV cache; the first `visible` slots are attended to, and their
/// order does not matter.
template <typename Element>
struct TimeBlock {
  int64_t positions;
  const int32_t* place;  ///< [positions]: the place of each in the cache
  int64_t heads;
  int64_t head;
  int64_t slots;
  int64_t visible;               ///< at most `slots`
  const Element* cached_keys;    ///< [places, slots, heads, head]
  const Element* cached_values;  ///< [places, slots, heads, head]
  const Element* query;          ///< [positions, heads, head]
  const Element* key;            ///< [positions, heads, head]
  const Element* value;          ///< [positions, heads, head]
  float* scores;                 ///< a buffer of TimeScores(heads, slots) numbers
  Element* out;                  ///< [positions, heads, head]
};

/// out = x + a depthwise convolution of x over the 3 x 3 neighbours of each position, zero beyond
/// the frame.
struct NeighboursBlock {
  int64_t first, end;  ///< positions to compute; those that the frame has not are left out
  int64_t rows, columns;
  int64_t width;
  const float* x;       ///< [rows, columns, width]
  const float* weight;  ///< [3, 3, width]
  float* out;           ///< [rows, columns, width]
};

/// Numbers in the buffer of scores that attention over time needs.
constexpr int64_t TimeScores(int64_t heads, int64_t slots) {
  constexpr int64_t kGroup = 16;
  return heads * ((slots + kGroup) / kGroup * kGroup);  // slots and this frame, in whole groups
}

/// The normalisation of one row of logits.
struct Categorical {
  float top;      ///< the largest
  float log_sum;  ///< ln of the sum of their exponentials
};

/// The kernels of one instruction set. All are pure and thread-safe. The bits of a position's
/// result depend on the inputs of that position alone (and of its neighbours, where they are read).
template <typename Element>
struct TransformerKernels {
  const char* instruction_set;
  void (*norm)(const NormBlock<Element>&);
  void (*heads)(const HeadsBlock<Element>&);
  void (*time)(const TimeBlock<Element>&);
  void (*neighbours)(const NeighboursBlock&);
  /// out = softmax(scale * scores) over the first `columns` of each row of [positions, stride];
  /// the rest of a row is zero. The scores are overwritten.
  void (*softmax)(int64_t positions, int64_t columns, int64_t stride, float scale, float* scores,
                  Element* out);
  /// x += products + bias, for `columns` columns of each position.
  void (*add)(int64_t positions, int64_t columns, const float* products, int64_t product_stride,
              const float* bias, float* x, int64_t x_stride);
  /// out = gelu(products + bias), in its tanh form (Hendrycks and Gimpel 2016).
  void (*gelu)(int64_t positions, int64_t columns, const float* products, int64_t product_stride,
               const float* bias, Element* out, int64_t out_stride);
  /// out = in, rounded to Element.
  void (*convert)(int64_t positions, int64_t columns, const float* in, int64_t in_stride,
                  Element* out, int64_t out_stride);
  /// Normalises one row of logits, products + bias.
  Categorical (*describe)(int64_t codes, const float* products, const float* bias);
  /// Returns the first code at which the sum of exp((logit - top) / temperature) reaches `uniform`
  /// of its total.
  int64_t (*sample)(int64_t codes, const float* products, const float* bias, float top,
                    float inverse_temperature, float uniform);
};

/// The kernels that this CPU can run, the fastest last; there is at least one.
template <typename Element>
std::vector<TransformerKernels<Element>> SupportedTransformerKernels();

extern template std::vector<TransformerKernels<float>> SupportedTransformerKernels<float>();
extern template std::vector<TransformerKernels<uint16_t>> SupportedTransformerKernels<uint16_t>();

}  // namespace genie_env
