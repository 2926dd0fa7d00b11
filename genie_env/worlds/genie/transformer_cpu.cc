#include "genie_env/worlds/genie/transformer_cpu.h"

#include <ATen/ops/zeros.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

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
  weight_ = PackedPanels<Element>(whole.unflatten(0, {-1, kColumns}), /*streamed=*/true);
  bias_ = weights.bias.contiguous();
}

template <typename Element>
void LinearCpu<Element>::Panel(int64_t column, int64_t positions, const Bits* input, float* out,
                               int64_t out_stride) const {
  const auto* elements = reinterpret_cast<const Element*>(input);
  for (int64_t first = 0; first < positions; first += kPositions) {
    weight_.Multiply(column / kColumns, std::min(kPositions, positions - first),
                     elements + first * inner_, inner_, out + first * out_stride, out_stride);
  }
}

template <typename Element>
TransformerWorkspace<Element>::TransformerWorkspace(int64_t positions, int64_t width,
                                                    int64_t time_scores)
    : places(positions), time_scores(Buffer<float>({time_scores})) {
  const int64_t padded = PaddedPositions(positions);
  constexpr int64_t kColumns = LinearCpu<Element>::kColumns;
  x = Buffer<float>({padded, width});
  spare = Buffer<float>({padded, width});
  input = Buffer<Element>({padded, width});
  products = Buffer<float>({padded, (3 * width + kColumns - 1) / kColumns * kColumns});
  for (Projected* parts : {&projected, &first}) {
    for (at::Tensor* part : {&parts->query, &parts->key, &parts->value}) {
      *part = Buffer<Element>({padded, width});
    }
  }
  changed = Buffer<float>({padded, width});
  mixed = Buffer<float>({padded, width});
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
  if (weights.neighbours.defined()) {
    neighbours = weights.neighbours.squeeze(1).permute({1, 2, 0}).contiguous();
  }
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
void TransformerCpu<Element>::Norm(Workspace& workspace, const at::Tensor& x,
                                   const at::Tensor& gain, Positions range) const {
  const int64_t first = range.first * sizes_.width;
  kernels_.norm({.positions = range.padded,
                 .width = sizes_.width,
                 .x = x.const_data_ptr<float>() + first,
                 .gain = gain.const_data_ptr<float>(),
                 .out = BitsOfTensor<Element>(workspace.input) + first});
}

// time: whose angles rotate queries and keys; null over space.
template <typename Element>
void TransformerCpu<Element>::Project(Workspace& workspace, const at::Tensor& x,
                                      const Attention& attention, Positions range,
                                      const KvCacheView<Element>* time,
                                      const Projected& out) const {
  Norm(workspace, x, attention.norm_gain, range);
  const int64_t stride = product_stride(), first = range.first * sizes_.width;
  float* products = workspace.products.template mutable_data_ptr<float>() + range.first * stride;
  attention.qkv.Write(range.padded, BitsOfTensor<Element>(workspace.input) + first, products);
  kernels_.heads({.positions = range.padded,
                  .heads = sizes_.heads,
                  .head = sizes_.head(),
                  .products = products,
                  .product_stride = stride,
                  .bias = attention.qkv.bias(),
                  .query_gain = attention.query_gain.template const_data_ptr<float>(),
                  .cosines = time == nullptr ? nullptr : time->cosines,
                  .sines = time == nullptr ? nullptr : time->sines,
                  .query = BitsOfTensor<Element>(out.query) + first,
                  .key = BitsOfTensor<Element>(out.key) + first,
                  .value = BitsOfTensor<Element>(out.value) + first});
}

// Updates workspace.first at the changed positions. Positions are projected independently.
template <typename Element>
void TransformerCpu<Element>::ProjectChanged(const Loops& loops, Workspace& workspace,
                                             const Attention& attention,
                                             std::span<const int32_t> changed) const {
  const int64_t width = sizes_.width, count = std::ssize(changed);
  const float* x = workspace.x.template const_data_ptr<float>();
  float* some = workspace.changed.template mutable_data_ptr<float>();
  loops.ForEachRange(
      PaddedPositions(count), kPositionGroup, [&](int64_t first, int64_t padded, auto&) {
        const int64_t end = std::min(first + padded, count);
        for (int64_t i = first; i < end; ++i) {
          std::copy_n(x + changed[i] * width, width, some + i * width);
        }
        Project(workspace, workspace.changed, attention, {first, padded}, nullptr,
                workspace.projected);
        for (const auto part : {&Projected::query, &Projected::key, &Projected::value}) {
          const Bits* from = BitsOfTensor<Element>(workspace.projected.*part);
          Bits* to = BitsOfTensor<Element>(workspace.first.*part);
          for (int64_t i = first; i < end; ++i) {
            std::copy_n(from + i * width, width, to + changed[i] * width);
          }
        }
      });
}

// x += linear(input). input: [padded, the linear map's stride].
template <typename Element>
void TransformerCpu<Element>::Add(Workspace& workspace, const LinearCpu<Element>& linear,
                                  const at::Tensor& input, Positions range) const {
  float* x = workspace.x.template mutable_data_ptr<float>() + range.first * sizes_.width;
  linear.ForEachPanel(
      range.padded, BitsOfTensor<Element>(input) + range.first * linear.stride(),
      workspace.products.template mutable_data_ptr<float>() + range.first * product_stride(),
      [&](int64_t column, int64_t columns, const float* products) {
        kernels_.add(range.padded, columns, products, linear.kColumns, linear.bias() + column,
                     x + column, sizes_.width);
      });
}

template <typename Element>
void TransformerCpu<Element>::AddNeighbours(const Loops& loops, Workspace& workspace,
                                            const Block& block) const {
  if (sizes_.columns == 0) return;
  loops.ForEachRange(
      PaddedPositions(positions_), kPositionGroup, [&](int64_t first, int64_t size, auto&) {
        kernels_.neighbours({.first = first,
                             .end = first + size,
                             .rows = positions_ / sizes_.columns,
                             .columns = sizes_.columns,
                             .width = sizes_.width,
                             .x = workspace.x.template const_data_ptr<float>(),
                             .weight = block.neighbours.template const_data_ptr<float>(),
                             .out = workspace.spare.template mutable_data_ptr<float>()});
      });
  std::swap(workspace.x, workspace.spare);
}

template <typename Element>
std::span<const int32_t> TransformerCpu<Element>::Affected(Workspace& workspace,
                                                           std::span<const int32_t> changed) const {
  const int64_t columns = sizes_.columns;
  if (columns == 0 || std::ssize(changed) == positions_) return changed;
  const int64_t rows = positions_ / columns;
  workspace.marked.assign(positions_, false);
  for (const int64_t s : changed) {
    const int64_t row = s / columns, column = s % columns;
    for (int64_t r = std::max<int64_t>(row - 1, 0); r <= std::min(row + 1, rows - 1); ++r) {
      for (int64_t c = std::max<int64_t>(column - 1, 0); c <= std::min(column + 1, columns - 1);
           ++c) {
        workspace.marked[r * columns + c] = true;
      }
    }
  }
  std::vector<int32_t>& affected = workspace.affected;
  affected.clear();
  for (const int32_t s : std::span(workspace.places.data(), static_cast<size_t>(positions_))) {
    if (workspace.marked[s]) affected.push_back(s);
  }
  return affected;
}

template <typename Element>
void TransformerCpu<Element>::OverSpace(const Loops& loops, Workspace& workspace,
                                        const Projected& projected) const {
  constexpr int64_t kPositions = LinearCpu<Element>::kPositions;
  const int64_t padded = PaddedPositions(positions_), head = sizes_.head(), width = sizes_.width;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head));
  const auto elements = [](const at::Tensor& t) { return t.template const_data_ptr<Element>(); };
  float* mixed = workspace.mixed.template mutable_data_ptr<float>();
  loops.ForEach(sizes_.heads, [&](int64_t index, Workspace& own) {
    const int64_t first = index * head;
    float* scores = own.scores.template mutable_data_ptr<float>();
    PackKeys(positions_, padded, head, width, BitsOfTensor<Element>(projected.key) + first,
             BitsOfTensor<Element>(own.packed_key));
    PackValues(positions_, padded, head, width, BitsOfTensor<Element>(projected.value) + first,
               BitsOfTensor<Element>(own.packed_value));
    for (int64_t s = 0; s < padded; s += kPositions) {
      Multiply(std::min(kPositions, padded - s), padded, head,
               elements(projected.query) + s * width + first, width, elements(own.packed_key),
               scores + s * padded, padded);
    }
    kernels_.softmax(padded, positions_, padded, scale, scores, BitsOfTensor<Element>(own.shares));
    for (int64_t s = 0; s < padded; s += kPositions) {
      Multiply(std::min(kPositions, padded - s), head, padded, elements(own.shares) + s * padded,
               padded, elements(own.packed_value), mixed + s * width + first, width);
    }
  });
}

// Adds to x what OverSpace has mixed.
template <typename Element>
void TransformerCpu<Element>::AddOverSpace(Workspace& workspace, const Attention& attention,
                                           Positions range) const {
  const int64_t width = sizes_.width, first = range.first * width;
  kernels_.convert(range.padded, width, workspace.mixed.template const_data_ptr<float>() + first,
                   width, BitsOfTensor<Element>(workspace.input) + first, width);
  Add(workspace, attention.output, workspace.input, range);
}

template <typename Element>
void TransformerCpu<Element>::OverTime(Workspace& workspace, const Attention& attention,
                                       int64_t block, const KvCacheView<Element>& cache,
                                       std::span<const int32_t> places, Positions range,
                                       bool output, Workspace& own) const {
  const int64_t width = sizes_.width, first = range.first * width;
  places = places.subspan(range.first, std::min(range.padded, std::ssize(places) - range.first));
  const Projected& projected = workspace.projected;
  Project(workspace, workspace.x, attention, range, &cache, projected);
  Bits* keys = cache.data + block * 2 * positions_ * slots_ * width;
  Bits* values = keys + positions_ * slots_ * width;
  const Bits* key = BitsOfTensor<Element>(projected.key) + first;
  const Bits* value = BitsOfTensor<Element>(projected.value) + first;
  if (output) {
    kernels_.time({.positions = std::ssize(places),
                   .place = places.data(),
                   .heads = sizes_.heads,
                   .head = sizes_.head(),
                   .slots = slots_,
                   .visible = std::min(cache.time, slots_),
                   .cached_keys = keys,
                   .cached_values = values,
                   .query = BitsOfTensor<Element>(projected.query) + first,
                   .key = key,
                   .value = value,
                   .scores = own.time_scores.template mutable_data_ptr<float>(),
                   .out = BitsOfTensor<Element>(workspace.input) + first});
  }
  if (cache.commit && slots_ > 0) {  // replaces the frame that has left the window
    const int64_t slot = cache.time % slots_;
    for (int64_t s = 0; s < std::ssize(places); ++s) {
      std::copy_n(key + s * width, width, keys + (places[s] * slots_ + slot) * width);
      std::copy_n(value + s * width, width, values + (places[s] * slots_ + slot) * width);
    }
  }
  if (output) Add(workspace, attention.output, workspace.input, range);
}

template <typename Element>
void TransformerCpu<Element>::Feed(Workspace& workspace, const Block& block,
                                   Positions range) const {
  Norm(workspace, workspace.x, block.norm_gain, range);
  Bits* wide = BitsOfTensor<Element>(workspace.wide) + range.first * block.widen.outputs();
  block.widen.ForEachPanel(
      range.padded, BitsOfTensor<Element>(workspace.input) + range.first * sizes_.width,
      workspace.products.template mutable_data_ptr<float>() + range.first * product_stride(),
      [&](int64_t column, int64_t columns, const float* products) {
        kernels_.gelu(range.padded, columns, products, block.widen.kColumns,
                      block.widen.bias() + column, wide + column, block.widen.outputs());
      });
  Add(workspace, block.narrow, workspace.wide, range);
}

template <typename Element>
void TransformerCpu<Element>::Run(const Loops& loops, Workspace& workspace,
                                  const KvCacheView<Element>* cache,
                                  std::span<const int32_t> wanted,
                                  std::span<const int32_t> changed) const {
  const std::span<const int32_t> all(workspace.places.data(), static_cast<size_t>(positions_));
  const auto for_each_range = [&](int64_t positions, const auto& task) {
    loops.ForEachRange(PaddedPositions(positions), kPositionGroup,
                       [&](int64_t first, int64_t size, Workspace& own) {
                         task(Positions{first, size}, own);
                       });
  };
  const Attention& opening = blocks_.front().space;
  AddNeighbours(loops, workspace, blocks_.front());
  changed = Affected(workspace, changed);
  if (changed.size() < all.size()) {
    ProjectChanged(loops, workspace, opening, changed);
  } else {
    for_each_range(positions_, [&](Positions range, Workspace&) {
      Project(workspace, workspace.x, opening, range, nullptr, workspace.first);
    });
  }
  const auto project_for = [&](int64_t block, Positions range) {
    Project(workspace, workspace.x, blocks_[block].space, range, nullptr, workspace.projected);
  };
  const auto last = std::ssize(blocks_) - 1;
  for (int64_t i = 0; i <= last; ++i) {
    const Block& block = blocks_[i];
    const bool stops = i == last && wanted.empty();
    OverSpace(loops, workspace, i == 0 ? workspace.first : workspace.projected);
    // What comes after attention over space, up to the next block's, which needs all positions.
    const auto go_on = [&](std::span<const int32_t> places, Positions range, Workspace& own) {
      if (cache != nullptr) {
        OverTime(workspace, block.time.front(), i, *cache, places, range, !stops, own);
      }
      if (stops) return;
      Feed(workspace, block, range);
      if (i == last) {
        Norm(workspace, workspace.x, norm_gain_, range);
      } else if (sizes_.columns == 0) {
        project_for(i + 1, range);
      }
    };
    if (i < last || stops || wanted.size() == all.size()) {
      for_each_range(positions_, [&](Positions range, Workspace& own) {
        AddOverSpace(workspace, block.space, range);
        go_on(all, range, own);
      });
      if (i < last && sizes_.columns > 0) {  // neighbours are read across ranges
        AddNeighbours(loops, workspace, blocks_[i + 1]);
        for_each_range(positions_, [&](Positions range, Workspace&) { project_for(i + 1, range); });
      }
      continue;
    }
    for_each_range(positions_, [&](Positions range, Workspace&) {
      AddOverSpace(workspace, block.space, range);
    });
    float* x = workspace.x.template mutable_data_ptr<float>();
    for (size_t s = 0; s < wanted.size(); ++s) {
      std::memmove(x + static_cast<int64_t>(s) * sizes_.width, x + wanted[s] * sizes_.width,
                   sizes_.width * sizeof(float));
    }
    for_each_range(std::ssize(wanted),
                   [&](Positions range, Workspace& own) { go_on(wanted, range, own); });
  }
}

template class LinearCpu<float>;
template class LinearCpu<at::BFloat16>;
template struct TransformerWorkspace<float>;
template struct TransformerWorkspace<at::BFloat16>;
template class TransformerCpu<float>;
template class TransformerCpu<at::BFloat16>;

}  // namespace genie_env
