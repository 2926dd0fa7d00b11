#include "genie_env/worlds/genie/transformer_cpu.h"

#include <ATen/ops/zeros.h>

#include <cmath>
#include <cstring>
#include <numeric>

namespace genie_env {
namespace {

// One head's keys as the second factor of a product: [head, padded] of [positions, width], in
// bfloat16 with pairs of the head's numbers side by side.
void PackKeys(int64_t positions, int64_t padded, int64_t head, int64_t width, const float* key,
              float* out) {
  for (int64_t s = 0; s < positions; ++s) {
    for (int64_t i = 0; i < head; ++i) out[i * padded + s] = key[s * width + i];
  }
}

void PackKeys(int64_t positions, int64_t padded, int64_t head, int64_t width, const uint16_t* key,
              uint16_t* out) {
  for (int64_t s = 0; s < positions; ++s) {
    for (int64_t i = 0; i < head; i += 2) {
      std::memcpy(out + i * padded + 2 * s, key + s * width + i, 2 * sizeof(uint16_t));
    }
  }
}

// One head's values, [padded, head]; in bfloat16 with pairs of positions side by side. What pads
// them is zero: it is multiplied by shares of zero.
void PackValues(int64_t positions, int64_t padded, int64_t head, int64_t width, const float* value,
                float* out) {
  for (int64_t s = 0; s < positions; ++s) std::copy_n(value + s * width, head, out + s * head);
  std::fill(out + positions * head, out + padded * head, 0.0f);
}

void PackValues(int64_t positions, int64_t padded, int64_t head, int64_t width,
                const uint16_t* value, uint16_t* out) {
  for (int64_t s = 0; s < padded; s += 2) {
    for (int64_t i = 0; i < head; ++i) {
      out[s * head + 2 * i] = s < positions ? value[s * width + i] : uint16_t{0};
      out[s * head + 2 * i + 1] = s + 1 < positions ? value[(s + 1) * width + i] : uint16_t{0};
    }
  }
}

template <typename Element>
at::Tensor Room(std::vector<int64_t> shape) {
  return at::zeros(shape, kTypeOf<Element>);
}

}  // namespace

template <typename Element>
PackedLinear<Element>::PackedLinear(const LinearWeights& weights)
    : inner_((weights.weight.size(1) + 1) / 2 * 2), outputs_(weights.weight.size(0)) {
  const at::Tensor whole = PadTo(PadTo(weights.weight, 1, inner_), 0, padded_outputs());
  weight_ = PackPanels(whole.unflatten(0, {-1, kColumns}), kTypeOf<Element>);
  weights_ = weight_.template const_data_ptr<Element>();
  bias_ = weights.bias.contiguous();
}

template <typename Element>
void PackedLinear<Element>::Panel(int64_t column, int64_t positions, const Bits* input, float* out,
                                  int64_t out_stride) const {
  const auto* elements = reinterpret_cast<const Element*>(input);
  const Element* weight = weights_ + column * inner_;
  for (int64_t first = 0; first < positions; first += kPositions) {
    Multiply(std::min(kPositions, positions - first), kColumns, inner_, elements + first * inner_,
             inner_, weight, out + first * out_stride, out_stride);
  }
}

template <typename Element>
TransformerRoom<Element>::TransformerRoom(int64_t positions, int64_t width, int64_t time_scores)
    : time_scores(Room<float>({time_scores})), places(positions) {
  const int64_t padded = PaddedPositions(positions);
  constexpr int64_t kColumns = PackedLinear<Element>::kColumns;
  x = Room<float>({padded, width});
  input = Room<Element>({padded, width});
  products = Room<float>({padded, (3 * width + kColumns - 1) / kColumns * kColumns});
  for (Projected* parts : {&projected, &first}) {
    for (at::Tensor* part : {&parts->query, &parts->key, &parts->value}) {
      *part = Room<Element>({padded, width});
    }
  }
  changed = Room<float>({padded, width});
  for (at::Tensor* part : {&packed_key, &packed_value}) *part = Room<Element>({padded * width});
  scores = Room<float>({padded, padded});
  shares = Room<Element>({padded, padded});
  wide = Room<Element>({padded, kFeedForwardFactor * width});
  std::iota(places.begin(), places.end(), 0);
}

template <typename Element>
PackedTransformer<Element>::Attention::Attention(const AttentionWeights& weights)
    : norm_gain(weights.norm_gain.contiguous()),
      query_gain(weights.query_gain.contiguous()),
      qkv(weights.qkv),
      output(weights.output) {}

template <typename Element>
PackedTransformer<Element>::Block::Block(const BlockWeights& weights)
    : space(weights.space),
      norm_gain(weights.norm_gain.contiguous()),
      widen(weights.widen),
      narrow(weights.narrow) {
  if (weights.time.norm_gain.defined()) time.emplace_back(weights.time);
}

template <typename Element>
PackedTransformer<Element>::PackedTransformer(const TransformerWeights& weights, int64_t positions,
                                              int64_t window)
    : sizes_(weights.sizes),
      positions_(positions),
      slots_(window - 1),
      norm_gain_(weights.norm_gain.contiguous()),
      kernels_(SupportedTransformerKernels<Bits>().back()) {
  for (const BlockWeights& block : weights.blocks) blocks_.emplace_back(block);
}

template <typename Element>
void PackedTransformer<Element>::Norm(TransformerRoom<Element>& room, const at::Tensor& x,
                                      const at::Tensor& gain, int64_t positions) const {
  kernels_.norm({.positions = positions,
                 .width = sizes_.width,
                 .x = x.const_data_ptr<float>(),
                 .gain = gain.const_data_ptr<float>(),
                 .out = BitsOfTensor<Element>(room.input)});
}

template <typename Element>
void PackedTransformer<Element>::Project(TransformerRoom<Element>& room, const at::Tensor& x,
                                         const Attention& attention, int64_t positions,
                                         const float* cosines, const float* sines,
                                         const Projected& out) const {
  Norm(room, x, attention.norm_gain, positions);
  float* products = room.products.template mutable_data_ptr<float>();
  attention.qkv.Write(positions, BitsOfTensor<Element>(room.input), products);
  kernels_.heads({.positions = positions,
                  .heads = sizes_.heads,
                  .head = sizes_.head(),
                  .products = products,
                  .product_stride = attention.qkv.padded_outputs(),
                  .bias = attention.qkv.bias(),
                  .query_gain = attention.query_gain.template const_data_ptr<float>(),
                  .cosines = cosines,
                  .sines = sines,
                  .query = BitsOfTensor<Element>(out.query),
                  .key = BitsOfTensor<Element>(out.key),
                  .value = BitsOfTensor<Element>(out.value)});
}

// room.first, at those positions alone: what a position projects does not depend on the others.
template <typename Element>
void PackedTransformer<Element>::ProjectChanged(TransformerRoom<Element>& room,
                                                const Attention& attention,
                                                std::span<const int32_t> changed) const {
  const int64_t width = sizes_.width, count = static_cast<int64_t>(changed.size());
  const float* x = room.x.template const_data_ptr<float>();
  float* some = room.changed.template mutable_data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) std::copy_n(x + changed[i] * width, width, some + i * width);
  Project(room, room.changed, attention, PaddedPositions(count), nullptr, nullptr, room.projected);
  for (const auto part : {&Projected::query, &Projected::key, &Projected::value}) {
    const Bits* from = BitsOfTensor<Element>(room.projected.*part);
    Bits* to = BitsOfTensor<Element>(room.first.*part);
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(from + i * width, width, to + changed[i] * width);
    }
  }
}

// x += linear(input).
template <typename Element>
void PackedTransformer<Element>::Add(TransformerRoom<Element>& room,
                                     const PackedLinear<Element>& linear, const Bits* input,
                                     int64_t positions) const {
  float* x = room.x.template mutable_data_ptr<float>();
  linear.ForEachPanel(positions, input, room.products.template mutable_data_ptr<float>(),
                      [&](int64_t column, int64_t columns, const float* products) {
                        kernels_.add(positions, columns, products, linear.kColumns,
                                     linear.bias() + column, x + column, sizes_.width);
                      });
}

template <typename Element>
void PackedTransformer<Element>::OverSpace(TransformerRoom<Element>& room,
                                           const Attention& attention,
                                           const Projected& projected) const {
  constexpr int64_t kPositions = PackedLinear<Element>::kPositions;
  const int64_t padded = PaddedPositions(positions_), head = sizes_.head(), width = sizes_.width;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head));
  const auto elements = [](const at::Tensor& t) { return t.template const_data_ptr<Element>(); };
  float* scores = room.scores.template mutable_data_ptr<float>();
  float* mixed = room.products.template mutable_data_ptr<float>();
  for (int64_t first = 0; first < width; first += head) {
    PackKeys(positions_, padded, head, width, BitsOfTensor<Element>(projected.key) + first,
             BitsOfTensor<Element>(room.packed_key));
    PackValues(positions_, padded, head, width, BitsOfTensor<Element>(projected.value) + first,
               BitsOfTensor<Element>(room.packed_value));
    for (int64_t s = 0; s < padded; s += kPositions) {
      Multiply(std::min(kPositions, padded - s), padded, head,
               elements(projected.query) + s * width + first, width, elements(room.packed_key),
               scores + s * padded, padded);
    }
    kernels_.softmax(padded, positions_, padded, scale, scores, BitsOfTensor<Element>(room.shares));
    for (int64_t s = 0; s < padded; s += kPositions) {
      Multiply(std::min(kPositions, padded - s), head, padded, elements(room.shares) + s * padded,
               padded, elements(room.packed_value), mixed + s * width + first, width);
    }
  }
  Bits* input = BitsOfTensor<Element>(room.input);
  kernels_.convert(padded, width, mixed, width, input, width);
  Add(room, attention.output, input, padded);
}

template <typename Element>
void PackedTransformer<Element>::OverTime(TransformerRoom<Element>& room,
                                          const Attention& attention, int64_t block,
                                          const PackedPast<Element>& past,
                                          std::span<const int32_t> places, bool output) const {
  const auto positions = static_cast<int64_t>(places.size());
  const int64_t padded = PaddedPositions(positions), width = sizes_.width;
  const Projected& projected = room.projected;
  Project(room, room.x, attention, padded, past.cosines, past.sines, projected);
  Bits* keys = past.ring + block * 2 * positions_ * slots_ * width;
  Bits* values = keys + positions_ * slots_ * width;
  const Bits* key = BitsOfTensor<Element>(projected.key);
  const Bits* value = BitsOfTensor<Element>(projected.value);
  Bits* input = BitsOfTensor<Element>(room.input);
  if (output) {
    kernels_.time({.positions = positions,
                   .place = places.data(),
                   .heads = sizes_.heads,
                   .head = sizes_.head(),
                   .slots = slots_,
                   .seen = std::min(past.time, slots_),
                   .past_keys = keys,
                   .past_values = values,
                   .query = BitsOfTensor<Element>(projected.query),
                   .key = key,
                   .value = value,
                   .scores = room.time_scores.template mutable_data_ptr<float>(),
                   .out = input});
  }
  if (past.commit && slots_ > 0) {  // in place of the frame that has left the window
    const int64_t slot = past.time % slots_;
    for (int64_t s = 0; s < positions; ++s) {
      std::copy_n(key + s * width, width, keys + (places[s] * slots_ + slot) * width);
      std::copy_n(value + s * width, width, values + (places[s] * slots_ + slot) * width);
    }
  }
  if (output) Add(room, attention.output, input, padded);
}

template <typename Element>
void PackedTransformer<Element>::Feed(TransformerRoom<Element>& room, const Block& block,
                                      int64_t positions) const {
  Norm(room, room.x, block.norm_gain, positions);
  Bits* wide = BitsOfTensor<Element>(room.wide);
  block.widen.ForEachPanel(positions, BitsOfTensor<Element>(room.input),
                           room.products.template mutable_data_ptr<float>(),
                           [&](int64_t column, int64_t columns, const float* products) {
                             kernels_.gelu(positions, columns, products, block.widen.kColumns,
                                           block.widen.bias() + column, wide + column,
                                           block.widen.outputs());
                           });
  Add(room, block.narrow, wide, positions);
}

template <typename Element>
void PackedTransformer<Element>::Run(TransformerRoom<Element>& room,
                                     const PackedPast<Element>* past,
                                     std::span<const int32_t> wanted,
                                     std::span<const int32_t> changed) const {
  const std::span<const int32_t> all(room.places.data(), static_cast<size_t>(positions_));
  const auto last = static_cast<int64_t>(blocks_.size()) - 1;
  for (int64_t i = 0; i <= last; ++i) {
    const Block& block = blocks_[i];
    const Projected& projected = i == 0 ? room.first : room.projected;
    if (i == 0 && changed.size() < all.size()) {
      ProjectChanged(room, block.space, changed);
    } else {
      Project(room, room.x, block.space, PaddedPositions(positions_), nullptr, nullptr, projected);
    }
    OverSpace(room, block.space, projected);
    const bool stops = i == last && wanted.empty();
    std::span<const int32_t> places = all;
    if (i == last && !stops && wanted.size() < all.size()) {
      places = wanted;
      float* x = room.x.template mutable_data_ptr<float>();
      for (size_t s = 0; s < places.size(); ++s) {
        std::memmove(x + static_cast<int64_t>(s) * sizes_.width, x + places[s] * sizes_.width,
                     sizes_.width * sizeof(float));
      }
    }
    if (past != nullptr) OverTime(room, block.time.front(), i, *past, places, !stops);
    if (stops) return;
    Feed(room, block, PaddedPositions(static_cast<int64_t>(places.size())));
  }
  Norm(room, room.x, norm_gain_, PaddedPositions(static_cast<int64_t>(wanted.size())));
}

template class PackedLinear<float>;
template class PackedLinear<at::BFloat16>;
template struct TransformerRoom<float>;
template struct TransformerRoom<at::BFloat16>;
template class PackedTransformer<float>;
template class PackedTransformer<at::BFloat16>;

}  // namespace genie_env
