#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "genie_env/kernels/cpu/deconvolution.h"
#include "genie_env/kernels/cpu/packed_gemm.h"
#include "genie_env/kernels/cpu/squares_kernels.h"
#include "genie_env/tensor/scratch_pool.h"
#include "genie_env/worlds/vision_memory/frozen_decoder.h"
#include "genie_env/worlds/vision_memory/memory_kernels.h"

namespace genie_env {
namespace {

constexpr int64_t kDecodedAtOnce = 64;  // the largest layer takes 120 KB a frame of 64 x 64

// The weights of two layers in one, where nothing between them is not linear: each input gives an
// image of its own. second: [features, out, kernel, kernel], a transposed convolution of stride 2;
// first: [height, width, features, in], that gives its input; both float32. [in, out, height and
// width of the image]
at::Tensor Fold(const at::Tensor& second, const at::Tensor& first) {
  const int64_t height = first.size(0), width = first.size(1), kernel = second.size(2);
  const int64_t features = first.size(2), in = first.size(3), pixels = height * width;
  // By our product, whose bits do not depend on the number of threads.
  const at::Tensor rows = second.flatten(1).t().contiguous();
  const at::Tensor columns = first.permute({2, 0, 1, 3}).contiguous();
  const at::Tensor squares = at::empty({rows.size(0), pixels * in}, at::kFloat);
  Multiply(rows.size(0), pixels * in, features, rows.const_data_ptr<float>(), features,
           columns.const_data_ptr<float>(), squares.mutable_data_ptr<float>(), pixels * in);
  const at::Tensor parts = squares.view({second.size(1), kernel, kernel, pixels, in});
  at::Tensor folded = at::zeros(
      {in, second.size(1), 2 * (height - 1) + kernel, 2 * (width - 1) + kernel}, at::kFloat);
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    folded.narrow(2, pixel / width * 2, kernel)
        .narrow(3, pixel % width * 2, kernel)
        .add_(parts.select(3, pixel).permute({3, 0, 1, 2}));
  }
  return folded;
}

constexpr int64_t kSpareFrames = 7;  // after the last, that products may read

// max(W z + b, 0), with packed weights.
template <typename Element>  // float or at::BFloat16
class RectifiedFeatures {
 public:
  // weight: float32 [features, latents]; features: a multiple of kPanel. bias: float32 [features]
  RectifiedFeatures(const at::Tensor& weight, const at::Tensor& bias)
      : features_(weight.size(0)),
        weight_(PadTo(weight, 1, weight.size(1) + weight.size(1) % 2).unsqueeze(0)),
        bias_(bias.contiguous()),
        kernels_(SupportedMemoryKernels().back()) {}

  int64_t in() const { return weight_.inner(); }  // latents, made even

  // z: [frames + kSpareFrames, in()], and so many rows of features, both in the products' type.
  at::Tensor Run(const at::Tensor& z) const {
    const TileScope tiles{kIsBf16<Element>};
    const int64_t frames = z.size(0) - kSpareFrames, rows = ProductRows(frames);
    const at::Tensor products = at::empty({rows, features_}, at::kFloat);
    weight_.Multiply(0, rows, z.const_data_ptr<Element>(), in(), products.mutable_data_ptr<float>(),
                     features_);
    at::Tensor features = at::zeros({z.size(0), features_}, z.options());
    auto* out = reinterpret_cast<BitsOf<Element>*>(features.mutable_data_ptr<Element>());
    const float *sums = products.const_data_ptr<float>(), *bias = bias_.const_data_ptr<float>();
    if constexpr (kIsBf16<Element>) {
      kernels_.rectify_bf16(frames, features_, sums, bias, out);
    } else {
      kernels_.rectify(frames, features_, sums, bias, out);
    }
    return features;
  }

 private:
  int64_t features_;
  PackedPanels<Element> weight_;  // [1, features, in]
  at::Tensor bias_;
  MemoryKernels kernels_;
};

template <typename Element>  // float or at::BFloat16
class DecoderCpu final : public FrozenDecoder {
 public:
  explicit DecoderCpu(const Vision& vision)
      : height_(vision.sizes().height),
        width_(vision.sizes().width),
        kernels_(SupportedSquaresKernels().back()) {
    const TensorMap all = ParametersOf(vision);
    const auto parameter = [&](const std::string& name) {
      return all.at(name).detach().to(at::kCPU, at::kFloat);
    };
    const at::Tensor expand = parameter("expand.weight"), expand_bias = parameter("expand.bias");
    const at::Tensor first = parameter("deconv1.weight");  // [features, out, kernel, kernel]
    if (vision.sizes().rectified_features) {
      features_.emplace(expand, expand_bias);
      layers_.emplace_back(first, parameter("deconv1.bias"), height_.grid, width_.grid);
    } else {
      const int64_t latents = vision.sizes().latents;
      const at::Tensor folded =
          Fold(first, at::cat({expand, expand_bias.unsqueeze(1)}, 1)
                          .view({height_.grid, width_.grid, first.size(0), latents + 1}));
      // What the bias of the features adds is another number at every pixel.
      const at::Tensor added = folded[latents].permute({1, 2, 0}).reshape({-1, first.size(1)});
      layers_.emplace_back(folded.narrow(0, 0, latents), added + parameter("deconv1.bias"), 1, 1);
    }
    for (const char* name : {"deconv2", "deconv3", "deconv4"}) {
      const std::string layer = name;
      layers_.emplace_back(parameter(layer + ".weight"), parameter(layer + ".bias"),
                           layers_.back().out_height(), layers_.back().out_width());
    }
  }

  void Decode(const at::Tensor& z, const at::Tensor& frames) const override {
    if (kIsBf16<Element>) CheckBf16StillWorks();
    const auto& last = layers_.back();
    const int64_t most = std::min(z.size(0), kDecodedAtOnce);
    Outputs outputs = outputs_.Take([&](const Outputs& each) { return each[0].size(0) >= most; },
                                    [&] { return Make(most); });
    for (int64_t first = 0; first < z.size(0); first += kDecodedAtOnce) {
      const int64_t count = std::min(kDecodedAtOnce, z.size(0) - first);
      at::Tensor x = Input(z.narrow(0, first, count));
      for (size_t i = 0; i + 1 < layers_.size(); ++i) {
        auto* to = reinterpret_cast<Bits*>(outputs[i].template mutable_data_ptr<Element>());
        const int64_t row_size = layers_[i].row_size();
        layers_[i].Run(count, x.const_data_ptr<Element>(),
                       [&](const SquaresBlock& block, int64_t row, float* /*room*/) {
                         Rectified(block, to + row * row_size);
                       });
        x = outputs[i];
      }
      const int64_t height = frames.size(1), row_size = frames.size(2) * frames.size(3);
      auto* to = frames.mutable_data_ptr<uint8_t>() + first * height * row_size;
      last.Run(count, x.const_data_ptr<Element>(),
               [&](const SquaresBlock& block, int64_t row, float* room) {
                 const int64_t frame = row / height_.seen, y = row % height_.seen - height_.border;
                 if (y < 0 || y >= height) return;
                 kernels_.narrow_sum(block, room);
                 kernels_.to_bytes(row_size, room + width_.border * frames.size(3),
                                   to + (frame * height + y) * row_size);
               });
    }
    outputs_.Give(std::move(outputs));
  }

 private:
  static constexpr at::ScalarType kType = kTypeOf<Element>;
  using Bits = BitsOf<Element>;
  using Outputs = std::vector<at::Tensor>;  // of all layers but the last: [frames, numbers]

  Outputs Make(int64_t frames) const {
    Outputs outputs;
    for (size_t i = 0; i + 1 < layers_.size(); ++i) {
      outputs.push_back(at::empty({frames, layers_[i].frame_size()}, kType));
    }
    return outputs;
  }

  void Rectified(const SquaresBlock& block, Bits* out) const {
    if constexpr (kIsBf16<Element>) {
      kernels_.rectified_bf16(block, out);
    } else {
      kernels_.rectified(block, out);
    }
  }

  // Of latents, [frames, latents]: the input of the first of layers_.
  at::Tensor Input(const at::Tensor& z) const {
    const int64_t in = features_ ? features_->in() : layers_[0].in();
    const at::Tensor padded =
        PadTo(PadTo(z, 1, in), 0, z.size(0) + kSpareFrames).to(kType).contiguous();
    return features_ ? features_->Run(padded) : padded;
  }

  VisionSide height_, width_;
  // V's first layer, latents -> a grid of features; none where these are not rectified: then it is
  // one with the next, features -> an image.
  std::optional<RectifiedFeatures<Element>> features_;
  std::deque<PackedDeconvolution<Element>> layers_;
  SquaresKernels kernels_;
  mutable ScratchPool<Outputs> outputs_;
};

}  // namespace

std::unique_ptr<const FrozenDecoder> MakeDecoderCpu(const Vision& vision, at::ScalarType dtype) {
  if (dtype == at::kBFloat16) return std::make_unique<DecoderCpu<at::BFloat16>>(vision);
  return std::make_unique<DecoderCpu<float>>(vision);
}

}  // namespace genie_env
