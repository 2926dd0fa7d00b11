#include "genie_env/worlds/genie/transformer_cpu.h"

#include <ATen/ops/zeros.h>

#include <cmath>
#include <cstring>
#include <numeric>

namespace genie_env {
namespace {

// Packs the keys of one head, rows of [positions, width], as the second factor of a product:
// [head, padded]; in bfloat16, pairs of the head's numbers lie side by side.
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

// Packs the values of one head: [padded, head]; in bfloat16, pairs of positions lie side by side.
// The padding is zero, because it is multiplied by shares of zero.
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
at::Tensor Buffer(std::vector<int64_t> shape) {
  return at::zeros(shape, kTypeOf<Element>);
}

}  // namespace

template <typename Element>
LinearCpu<Element>::LinearCpu(const LinearWeights& weights)
    : inner_((weights.weight.size(1) + 1) / 2 * 2), outputs_(weights.weight.size(0)) {
  const at::Tensor whole = PadTo(PadTo(weights.weight, 1, inner_), 0, padded_outputs());
  weight_ = PackPanels(whole.unflatten(0, {-1, kColumns}), kTypeOf<Element>);
  weights_ = weight_.template const_data_ptr<Element>();
  bias_ = weights.bias.contiguous();
}

template <typename Element>
void LinearCpu<Element>::Panel(int64_t column, int64_t positions, const Bits* input, float* out,
                               int64_t out_stride) const {
  const auto* elements = reinterpret_cast<const Element*>(input);
  const Element* weight = weights_ + column * inner_;
  for (int64_t first = 0; first < positions; first += kPositions) {
    Multiply(std::min(kPositions, positions - first), kColumns, inner_, elements + first * inner_,
             inner_, weight, out + first * out_stride, out_stride);
  }
}

template <typename Element>
TransformerWorkspace<Element>::TransformerWorkspace(int64_t positions, int64_t width,
                                                    int64_t time_scores)
    : time_scores(Buffer<float>({time_scores})), places(positions) {
  const int64_t padded = PaddedPositions(positions);
  constexpr int64_t kColumns = LinearCpu<Element>::kColumns;
  x = Buffer<float>({padded, width});
  input = Buffer<Element>({padded, width});
  products = Buffer<float>({padded, (3 * width + kColumns - 1) / kColumns * kColumns});
  for (Projected* parts : {&projected, &first}) {
    for (at::Tensor* part : {&parts->query, &parts->key, &parts->value}) {
      *part = Buffer<Element>({padded, width});
    }
  }
  changed = Buffer<float>({padded, width});
  for (at::Tensor* part : {&packed_key, &packed_value}) *part = Buffer<Element>({padded * width});
  scores = Buffer<float>({padded, padded});
  shares = Buffer<Element>({padded, padded});
  wide = Buffer<Element>({padded, kFeedForwardFactor * width});
  std::iota(places.begin(), places.end(), 0);
}

template <typename Element>
TransformerCpu<Element>::Attention::Attention(const AttentionWeights& weights)
    : norm_gain(weights.norm_gain.contiguous()),
      query_gain(weights.query_gain.contiguous()),
      qkv(weights.qkv),
      output(weights.output) {}

template <typename Element>
TransformerCpu<Element>::Block::Block(const BlockWeights& weights)
    : space(weights.space),
      norm_gain(weights.norm_gain.contiguous()),
      widen(weights.widen),
      narrow(weights.narrow) {
  if (weights.time.norm_gain.defined()) time.emplace_back(weights.time);
}

template <typename Element>
TransformerCpu<Element>::TransformerCpu(const TransformerWeights& weights, int64_t positions,
                                        int64_t window)
    : sizes_(weights.sizes),
      positions_(positions),
      slots_(window - 1),
      norm_gain_(weights.norm_gain.contiguous()),
      kernels_(SupportedTransformerKernels<Bits>().back()) {
  for (const BlockWeights& block : weights.blocks) blocks_.emplace_back(block);
}

template <typename Element>
void TransformerCpu<Element>::Norm(TransformerWorkspace<Element>& workspace, const at::Tensor& x,
                                   const at::Tensor& gain, int64_t positions) const {
  kernels_.norm({.positions = positions,
                 .width = sizes_.width,
                 .x = x.const_data_ptr<float>(),
                 .gain = gain.const_data_ptr<float>(),
                 .out = BitsOfTensor<Element>(workspace.input)});
}

template <typename Element>
void TransformerCpu<Element>::Project(TransformerWorkspace<Element>& workspace, const at::Tensor& x,
                                      const Attention& attention, int64_t positions,
                                      const float* cosines, const float* sines,
                                      const Projected& out) const {
  Norm(workspace, x, attention.norm_gain, positions);
  float* products = workspace.products.template mutable_data_ptr<float>();
  attention.qkv.Write(positions, BitsOfTensor<Element>(workspace.input), products);
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

// Updates workspace.first at the changed positions. Positions are projected independently.
template <typename Element>
void TransformerCpu<Element>::ProjectChanged(TransformerWorkspace<Element>& workspace,
                                             const Attention& attention,
                                             std::span<const int32_t> changed) const {
  const int64_t width = sizes_.width, count = static_cast<int64_t>(changed.size());
  const float* x = workspace.x.template const_data_ptr<float>();
  float* some = workspace.changed.template mutable_data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) std::copy_n(x + changed[i] * width, width, some + i * width);
  Project(workspace, workspace.changed, attention, PaddedPositions(count), nullptr, nullptr,
          workspace.projected);
  for (const auto part : {&Projected::query, &Projected::key, &Projected::value}) {
    const Bits* from = BitsOfTensor<Element>(workspace.projected.*part);
    Bits* to = BitsOfTensor<Element>(workspace.first.*part);
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(from + i * width, width, to + changed[i] * width);
    }
  }
}

// x += linear(input).
template <typename Element>
void TransformerCpu<Element>::Add(TransformerWorkspace<Element>& workspace,
                                  const LinearCpu<Element>& linear, const Bits* input,
                                  int64_t positions) const {
  float* x = workspace.x.template mutable_data_ptr<float>();
  linear.ForEachPanel(positions, input, workspace.products.template mutable_data_ptr<float>(),
                      [&](int64_t column, int64_t columns, const float* products) {
                        kernels_.add(positions, columns, products, linear.kColumns,
                                     linear.bias() + column, x + column, sizes_.width);
                      });
}

template <typename Element>
void TransformerCpu<Element>::OverSpace(TransformerWorkspace<Element>& workspace,
                                        const Attention& attention,
                                        const Projected& projected) const {
  constexpr int64_t kPositions = LinearCpu<Element>::kPositions;
  const int64_t padded = PaddedPositions(positions_), head = sizes_.head(), width = sizes_.width;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head));
  const auto elements = [](const at::Tensor& t) { return t.template const_data_ptr<Element>(); };
  float* scores = workspace.scores.template mutable_data_ptr<float>();
  float* mixed = workspace.products.template mutable_data_ptr<float>();
  for (int64_t first = 0; first < width; first += head) {
    PackKeys(positions_, padded, head, width, BitsOfTensor<Element>(projected.key) + first,
             BitsOfTensor<Element>(workspace.packed_key));
    PackValues(positions_, padded, head, width, BitsOfTensor<Element>(projected.value) + first,
               BitsOfTensor<Element>(workspace.packed_value));
    for (int64_t s = 0; s < padded; s += kPositions) {
      Multiply(std::min(kPositions, padded - s), padded, head,
               elements(projected.query) + s * width + first, width, elements(workspace.packed_key),
               scores + s * padded, padded);
    }
    kernels_.softmax(padded, positions_, padded, scale, scores,
                     BitsOfTensor<Element>(workspace.shares));
    for (int64_t s = 0; s < padded; s += kPositions) {
      Multiply(std::min(kPositions, padded - s), head, padded,
               elements(workspace.shares) + s * padded, padded, elements(workspace.packed_value),
               mixed + s * width + first, width);
    }
  }
  Bits* input = BitsOfTensor<Element>(workspace.input);
  kernels_.convert(padded, width, mixed, width, input, width);
  Add(workspace, attention.output, input, padded);
}

template <typename Element>
void TransformerCpu<Element>::OverTime(TransformerWorkspace<Element>& workspace,
                                       const Attention& attention, int64_t block,
                                       const KvCacheView<Element>& cache,
                                       std::span<const int32_t> places, bool output) const {
  const auto positions = static_cast<int64_t>(places.size());
  const int64_t padded = PaddedPositions(positions), width = sizes_.width;
  const Projected& projected = workspace.projected;
  Project(workspace, workspace.x, attention, padded, cache.cosines, cache.sines, projected);
  Bits* keys = cache.data + block * 2 * positions_ * slots_ * width;
  Bits* values = keys + positions_ * slots_ * width;
  const Bits* key = BitsOfTensor<Element>(projected.key);
  const Bits* value = BitsOfTensor<Element>(projected.value);
  Bits* input = BitsOfTensor<Element>(workspace.input);
  if (output) {
    kernels_.time({.positions = positions,
                   .place = places.data(),
                   .heads = sizes_.heads,
                   .head = sizes_.head(),
                   .slots = slots_,
                   .visible = std::min(cache.time, slots_),
                   .cached_keys = keys,
                   .cached_values = values,
                   .query = BitsOfTensor<Element>(projected.query),
                   .key = key,
                   .value = value,
                   .scores = workspace.time_scores.template mutable_data_ptr<float>(),
                   .out = input});
  }
  if (cache.commit && slots_ > 0) {  // replaces the frame that has left the window
    const int64_t slot = cache.time % slots_;
    for (int64_t s = 0; s < positions; ++s) {
      std::copy_n(key + s * width, width, keys + (places[s] * slots_ + slot) * width);
      std::copy_n(value + s * width, width, values + (places[s] * slots_ + slot) * width);
    }
  }
  if (output) Add(workspace, attention.output, input, padded);
}

template <typename Element>
void TransformerCpu<Element>::Feed(TransformerWorkspace<Element>& workspace, const Block& block,
                                   int64_t positions) const {
  Norm(workspace, workspace.x, block.norm_gain, positions);
  Bits* wide = BitsOfTensor<Element>(workspace.wide);
  block.widen.ForEachPanel(positions, BitsOfTensor<Element>(workspace.input),
                           workspace.products.template mutable_data_ptr<float>(),
                           [&](int64_t column, int64_t columns, const float* products) {
                             kernels_.gelu(positions, columns, products, block.widen.kColumns,
                                           block.widen.bias() + column, wide + column,
                                           block.widen.outputs());
                           });
  Add(workspace, block.narrow, wide, positions);
}

template <typename Element>
void TransformerCpu<Element>::Run(TransformerWorkspace<Element>& workspace,
                                  const KvCacheView<Element>* cache,
                                  std::span<const int32_t> wanted,
                                  std::span<const int32_t> changed) const {
  const std::span<const int32_t> all(workspace.places.data(), static_cast<size_t>(positions_));
  const auto last = static_cast<int64_t>(blocks_.size()) - 1;
  for (int64_t i = 0; i <= last; ++i) {
    const Block& block = blocks_[i];
    const Projected& projected = i == 0 ? workspace.first : workspace.projected;
    if (i == 0 && changed.size() < all.size()) {
      ProjectChanged(workspace, block.space, changed);
    } else {
      Project(workspace, workspace.x, block.space, PaddedPositions(positions_), nullptr, nullptr,
              projected);
    }
    OverSpace(workspace, block.space, projected);
    const bool stops = i == last && wanted.empty();
    std::span<const int32_t> places = all;
    if (i == last && !stops && wanted.size() < all.size()) {
      places = wanted;
      float* x = workspace.x.template mutable_data_ptr<float>();
      for (size_t s = 0; s < places.size(); ++s) {
        std::memmove(x + static_cast<int64_t>(s) * sizes_.width, x + places[s] * sizes_.width,
                     sizes_.width * sizeof(float));
      }
    }
    if (cache != nullptr) OverTime(workspace, block.time.front(), i, *cache, places, !stops);
    if (stops) return;
    Feed(workspace, block, PaddedPositions(static_cast<int64_t>(places.size())));
  }
  Norm(workspace, workspace.x, norm_gain_, PaddedPositions(static_cast<int64_t>(wanted.size())));
}

template class LinearCpu<float>;
template class LinearCpu<at::BFloat16>;
template struct TransformerWorkspace<float>;
template struct TransformerWorkspace<at::BFloat16>;
template class TransformerCpu<float>;
template class TransformerCpu<at::BFloat16>;

}  // namespace genie_env
