#include "genie_env/models/layers/st_transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/complex.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/view_as_complex.h>
#include <ATen/ops/view_as_real.h>

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "genie_env/models/layers/gelu.h"

namespace genie_env {
namespace {

// Frames `first` and later of x, [N, F, ...]. (The gradient of a slice is a copy, also where it is
// the whole.)
at::Tensor FramesFrom(int64_t first, const at::Tensor& x) {
  return first == 0 ? x : x.slice(1, first);
}

}  // namespace

at::Tensor Normalised(const at::Tensor& x, const at::Tensor& gain) {
  return at::layer_norm(x.to(at::kFloat), x.sizes().slice(x.dim() - 1), gain, /*bias=*/{},
                        kNormEpsilon);
}

// A pair of neighbouring numbers is rotated as one complex number.
at::Tensor Rotate(const at::Tensor& x, const at::Tensor& rotations) {
  const int64_t frames = rotations.size(0), pairs = rotations.size(1);
  std::vector<int64_t> shape(x.sizes().begin(), x.sizes().end() - 1);
  shape.insert(shape.end(), {pairs, 2});
  const at::Tensor turned =
      at::view_as_complex(x.reshape(shape)) * rotations.view({frames, 1, 1, pairs});
  return at::view_as_real(turned).flatten(-2);
}

at::Tensor Attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                  const at::Tensor& visible) {
  if (!query.is_cpu()) {
    const std::optional<at::Tensor> mask =
        visible.defined() ? std::optional(visible) : std::nullopt;
    return at::scaled_dot_product_attention(query, key, value, mask);
  }
  // The CPU's backward of that operator is made for long sequences: for frames of 64 tokens and
  // clips of a dozen frames it takes ten times as long as these three steps, and half of a training
  // step.
  const double scale = 1 / std::sqrt(static_cast<double>(query.size(-1)));
  at::Tensor scores = at::matmul(query, key.transpose(-2, -1)).to(at::kFloat) * scale;
  if (visible.defined()) {
    scores = scores.masked_fill(~visible, -std::numeric_limits<double>::infinity());
  }
  return at::matmul(at::softmax(scores, -1).to(value.scalar_type()), value);
}

at::Tensor Rotations(const at::Tensor& time, int64_t head) {
  const at::TensorOptions doubles = time.options().dtype(at::kDouble);
  const at::Tensor exponents = at::arange(0, head, 2, doubles) / static_cast<double>(head);
  const at::Tensor angles = time.to(at::kDouble).unsqueeze(1) * at::pow(kRopeBase, -exponents);
  return at::complex(angles.cos().to(at::kFloat), angles.sin().to(at::kFloat));
}

at::Tensor CausalWindow(int64_t frames, int64_t window, at::Device device) {
  return at::ones({frames, frames}, at::TensorOptions(device).dtype(at::kBool))
      .tril_()
      .triu_(1 - window);
}

TimeGrid CausalTime(int64_t frames, int64_t window, int64_t head, at::Device device) {
  return {.rotations = Rotations(at::arange(frames), head).to(device),
          .visible = CausalWindow(frames, window, device)};
}

at::Tensor ConvolveNeighbours(const at::Tensor& x, const at::Tensor& weight, int64_t columns) {
  at::Tensor pictures = x.unflatten(1, {-1, columns}).permute({0, 3, 1, 2});
  // With the channels last, cuDNN would compute it, which may round float32 to TF32.
  if (x.is_cuda()) pictures = pictures.contiguous();
  return at::conv2d(pictures, weight, /*bias=*/{}, /*stride=*/1, /*padding=*/1, /*dilation=*/1,
                    /*groups=*/x.size(2))
      .permute({0, 2, 3, 1})
      .flatten(1, 2);
}

Norm::Norm(int64_t width) { gain = register_parameter("gain", at::ones({width})); }

at::Tensor Norm::Forward(const at::Tensor& x) const { return Normalised(x, gain); }

Attention::Attention(const BlockSizes& sizes, LayerNumbers& layers) : heads(sizes.heads) {
  norm = register_module("norm", std::make_shared<Norm>(sizes.width));
  qkv = register_module("qkv", layers.Linear(sizes.width, 3 * sizes.width));
  query_gain = register_parameter("query_gain", at::ones({sizes.head()}));
  output = register_module("output", layers.Linear(sizes.width, sizes.width));
}

Attention::Heads Attention::Project(const at::Tensor& x) const {
  const at::Tensor projected = Apply(*qkv, norm->Forward(x));
  // Its gradients are put side by side. Those of three selections would each be as large as all,
  // and added.
  const std::vector<at::Tensor> parts =
      projected.unflatten(-1, {3, heads, query_gain.size(0)}).unbind(-3);
  return {.query = Normalised(parts[0], query_gain),
          .key = Normalised(parts[1], {}),
          .value = parts[2]};
}

at::Tensor Attention::OverSpace(const at::Tensor& x) const {
  const Heads h = Project(x);
  const auto split = [](const at::Tensor& part) { return part.flatten(0, 1).transpose(1, 2); };
  const at::Tensor mixed = Attend(split(h.query), split(h.key), split(h.value), {});
  return Apply(*output, mixed.transpose(1, 2).reshape(x.sizes()));
}

at::Tensor Attention::OverTime(const at::Tensor& x, const TimeGrid& time, int64_t first) const {
  const Heads h = Project(x);
  // Puts the heads of all positions side by side: [N, S * heads, F, head], without a copy.
  const auto split = [](const at::Tensor& part) { return part.flatten(2, 3).transpose(1, 2); };
  const at::Tensor query = Rotate(FramesFrom(first, h.query), time.rotations.slice(0, first));
  const at::Tensor key = Rotate(h.key, time.rotations);
  const at::Tensor mixed =
      Attend(split(query), split(key), split(h.value), time.visible.slice(0, first));
  return Apply(*output, mixed.transpose(1, 2).reshape({x.size(0), -1, x.size(2), x.size(3)}));
}

StBlock::StBlock(const BlockSizes& sizes, bool timeless, LayerNumbers& layers)
    : columns_(sizes.columns) {
  if (columns_ > 0) {
    neighbours_ = register_parameter("neighbours", layers.Weight({sizes.width, 1, 3, 3}, 1.0 / 3));
  }
  space_ = register_module("space", std::make_shared<Attention>(sizes, layers));
  if (!timeless) {
    time_ = register_module("time", std::make_shared<Attention>(sizes, layers));
  }
  norm_ = register_module("norm", std::make_shared<Norm>(sizes.width));
  widen_ = register_module("widen", layers.Linear(sizes.width, kFeedForwardFactor * sizes.width));
  narrow_ = register_module("narrow", layers.Linear(kFeedForwardFactor * sizes.width, sizes.width));
}

at::Tensor StBlock::WithNeighbours(const at::Tensor& x) const {
  if (columns_ == 0) return x;
  return x + ConvolveNeighbours(x.flatten(0, 1), neighbours_, columns_).view(x.sizes());
}

at::Tensor StBlock::Forward(const at::Tensor& x, const TimeGrid& time, int64_t first) const {
  const at::Tensor begun = WithNeighbours(x);
  const at::Tensor whole = begun + space_->OverSpace(begun);
  at::Tensor y = FramesFrom(first, whole);
  if (time_ != nullptr) {
    y = y + time_->OverTime(whole, time, first);
  }
  return y + Apply(*narrow_, Gelu(Apply(*widen_, norm_->Forward(y))));
}

StTransformer::StTransformer(int64_t count, const BlockSizes& sizes, bool timeless,
                             LayerNumbers& layers) {
  for (int64_t i = 0; i < count; ++i) {
    blocks_.push_back(register_module("block" + std::to_string(i),
                                      std::make_shared<StBlock>(sizes, timeless, layers)));
  }
  norm_ = register_module("norm", std::make_shared<Norm>(sizes.width));
}

at::Tensor StTransformer::Forward(at::Tensor x, const TimeGrid& time) const {
  return ForwardFrom(0, std::move(x), time);
}

at::Tensor StTransformer::ForwardFrom(int64_t first, at::Tensor x, const TimeGrid& time) const {
  for (const auto& block : blocks_) {
    x = block->Forward(x, time, block == blocks_.back() ? first : 0);
  }
  return norm_->Forward(x);
}

}  // namespace genie_env
