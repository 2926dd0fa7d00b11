#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

namespace genie_env {

// The arithmetic of a frozen ST-transformer (models/layers/st_transformer.h) between its matrix
// products, for the positions of one frame, on the CPU. `Element` is what the products read: float,
// or the bits of a bfloat16. Everything is row-major; a stride is the distance from one position to
// the next.

/// Layer normalisation with a gain.
template <typename Element>
struct NormBlock {
  int64_t positions;
  int64_t width;
  const float* x;     ///< [positions, width]
  const float* gain;  ///< [width]
  Element* out;       ///< [positions, width]
};

/// Queries, keys and values out of one product: the bias added, queries and keys normalised head by
/// head, queries with a gain; both turned by the frame's time, or by nothing.
template <typename Element>
struct HeadsBlock {
  int64_t positions;
  int64_t heads;
  int64_t head;           ///< size of one, even
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

/// Attention of every position to itself in past frames and in this one. The past is a ring of
/// slots, of which the first `seen` are frames that are seen, in any order.
template <typename Element>
struct TimeBlock {
  int64_t positions;
  const int32_t* place;  ///< [positions]: where in the ring each is
  int64_t heads;
  int64_t head;
  int64_t slots;
  int64_t seen;                ///< at most `slots`
  const Element* past_keys;    ///< [places, slots, heads, head]
  const Element* past_values;  ///< [places, slots, heads, head]
  const Element* query;        ///< [positions, heads, head]
  const Element* key;          ///< [positions, heads, head]
  const Element* value;        ///< [positions, heads, head]
  float* scores;               ///< room for TimeScores numbers
  Element* out;                ///< [positions, heads, head]
};

/// Room that attention over time takes for its scores.
constexpr int64_t TimeScores(int64_t heads, int64_t slots) {
  constexpr int64_t kGroup = 16;
  return heads * ((slots + kGroup) / kGroup * kGroup);  // slots and this frame, in whole groups
}

/// What one row of logits says.
struct Categorical {
  float top;      ///< the largest
  float log_sum;  ///< ln of the sum of their exponentials
};

/// One instruction set's version of them. All are pure and thread-safe, and a position's result
/// depends, to the bit, on what it sees alone.
template <typename Element>
struct TransformerKernels {
  const char* instruction_set;
  void (*norm)(const NormBlock<Element>&);
  void (*heads)(const HeadsBlock<Element>&);
  void (*time)(const TimeBlock<Element>&);
  /// out = softmax(scale * scores) over the first `columns` of each row of [positions, stride];
  /// zero beyond. Writes over the scores.
  void (*softmax)(int64_t positions, int64_t columns, int64_t stride, float scale, float* scores,
                  Element* out);
  /// x += products + bias: `columns` of them a position.
  void (*add)(int64_t positions, int64_t columns, const float* products, int64_t product_stride,
              const float* bias, float* x, int64_t x_stride);
  /// out = gelu(products + bias), in its tanh form (Hendrycks and Gimpel 2016).
  void (*gelu)(int64_t positions, int64_t columns, const float* products, int64_t product_stride,
               const float* bias, Element* out, int64_t out_stride);
  /// out = in, in the products' type.
  void (*convert)(int64_t positions, int64_t columns, const float* in, int64_t in_stride,
                  Element* out, int64_t out_stride);
  /// Logits are products + bias.
  Categorical (*describe)(int64_t codes, const float* products, const float* bias);
  /// The first code at which the sum of exp((logit - top) / temperature) reaches `uniform` of its
  /// total.
  int64_t (*sample)(int64_t codes, const float* products, const float* bias, float top,
                    float inverse_temperature, float uniform);
};

/// Those that this CPU can run, the fastest last; there is at least one.
template <typename Element>
std::vector<TransformerKernels<Element>> SupportedTransformerKernels();

extern template std::vector<TransformerKernels<float>> SupportedTransformerKernels<float>();
extern template std::vector<TransformerKernels<uint16_t>> SupportedTransformerKernels<uint16_t>();

}  // namespace genie_env
