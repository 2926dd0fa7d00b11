#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "genie_env/kernels/cpu/packed_gemm.h"
#include "genie_env/tensor/scratch_pool.h"
#include "genie_env/worlds/vision_memory/decoder_kernels.h"
#include "genie_env/worlds/vision_memory/frozen_decoder.h"

// A transposed convolution is a product, in which every pixel of the input gives a square of kernel
// x kernel pixels, and a sum of the squares at their places. Its output is computed in tasks of (a
// few frames) x (a strip of the output's rows): the squares of a few rows of the input, then the
// output's rows that they complete, while the squares are in a core's cache. A frame's bits depend
// on its latents alone, since its sums have one order whatever the tasks.
//
// The first two layers, latents -> 1024 features -> 5 x 5 pixels, have nothing between them that is
// not linear. They are folded into one, whose weights are their product.

namespace genie_env {
namespace {

constexpr int64_t kDecodedAtOnce = 64;  // the largest layer takes 120 KB a frame

constexpr int64_t kPixelsOfProduct = 176;
constexpr int64_t kPanelColumns = 64;  // in float32; in bfloat16 one panel is faster
int64_t DivideUp(int64_t number, int64_t by) { return (number + by - 1) / by; }

struct Deconvolution {
  int64_t in, out;  // channels
  int64_t side;     // of the input, in pixels
  int64_t kernel;
  int64_t panels;     // of columns; a product of one panel of weights keeps that in a small cache
  at::Tensor weight;  // [panels, in x panel_columns], packed by PackPanels
  at::Tensor bias;    // float32 [out], or [out_side x out_side, out]

  int64_t pairs() const { return side + DivideUp(kernel, 2) - 1; }  // of the output's rows
  int64_t out_side() const { return 2 * (side - 1) + kernel; }
  int64_t row_size() const { return out_side() * out; }
  int64_t columns() const { return kernel * kernel * out; }
  int64_t panel_columns() const { return columns() / panels; }
};

// weight: float32 [in, out, kernel, kernel].
Deconvolution Pack(const at::Tensor& weight, const at::Tensor& bias, int64_t side,
                   at::ScalarType dtype) {
  Deconvolution layer{.in = DivideUp(weight.size(0), 2) * 2,
                      .out = weight.size(1),
                      .side = side,
                      .kernel = weight.size(2),
                      .panels = 1,
                      .weight = {},
                      .bias = bias.contiguous()};
  if (dtype == at::kFloat && layer.columns() % kPanelColumns == 0) {
    layer.panels = layer.columns() / kPanelColumns;
  }
  const at::Tensor rows = PadTo(weight, 0, layer.in).permute({2, 3, 1, 0});  // [ky, kx, out, in]
  layer.weight =
      PackPanels(rows.reshape({layer.panels, layer.panel_columns(), layer.in}), dtype).flatten(1);
  return layer;
}

// The weights of two layers in one. first: [features, out, kernel, kernel]; before: [features, in];
// both float32. [in, out, kernel, kernel]
at::Tensor Fold(const at::Tensor& first, const at::Tensor& before) {
  // By our product, whose bits do not depend on the number of threads.
  const at::Tensor rows = first.flatten(1).t().contiguous();
  const at::Tensor columns = before.contiguous();
  const int64_t in = before.size(1), features = before.size(0);
  const at::Tensor folded = at::empty({rows.size(0), in}, at::kFloat);
  Multiply(rows.size(0), in, features, rows.const_data_ptr<float>(), features,
           columns.const_data_ptr<float>(), folded.mutable_data_ptr<float>(), in);
  return folded.t().reshape({in, first.size(1), first.size(2), first.size(3)});
}

// Some pairs of an output's rows, and the rows of the input that they depend on.
struct Strip {
  Strip(const Deconvolution& layer, int64_t index, int64_t strips)
      : begin(index * layer.pairs() / strips),
        end((index + 1) * layer.pairs() / strips),
        first_in(std::max<int64_t>(begin + layer.side - layer.pairs(), 0)),
        end_in(std::min(end, layer.side)) {}
  int64_t begin, end, first_in, end_in;
};

template <typename Element>  // float or at::BFloat16
class DecoderCpu final : public FrozenDecoder {
 public:
  explicit DecoderCpu(const Vision& vision) : kernels_(SupportedDecoderKernels().back()) {
    const TensorMap all = ParametersOf(vision);
    const auto parameter = [&](const std::string& name) {
      return all.at(name).detach().to(at::kCPU, at::kFloat);
    };
    const at::Tensor first = parameter("deconv1.weight");  // [features, out, kernel, kernel]
    const at::Tensor folded = Fold(
        first, at::cat({parameter("expand.weight"), parameter("expand.bias").unsqueeze(1)}, 1));
    const int64_t latents = folded.size(0) - 1;
    layers_.push_back(Pack(folded.narrow(0, 0, latents), parameter("deconv1.bias"), 1, kType));
    // What the bias of the features adds is another number at every pixel.
    const at::Tensor added = folded[latents].permute({1, 2, 0}).reshape({-1, first.size(1)});
    layers_[0].bias = (added + layers_[0].bias).contiguous();
    for (const char* name : {"deconv2", "deconv3", "deconv4"}) {
      const std::string layer = name;
      layers_.push_back(Pack(parameter(layer + ".weight"), parameter(layer + ".bias"),
                             layers_.back().out_side(), kType));
    }
  }

  void Decode(const at::Tensor& z, const at::Tensor& frames) const override {
    if (kBf16) CheckBf16StillWorks();
    const Deconvolution& last = layers_.back();
    auto* out = frames.mutable_data_ptr<uint8_t>();
    const int64_t most = std::min(z.size(0), kDecodedAtOnce);
    Outputs outputs = outputs_.Take(
        [&](const Outputs& each) { return each[0].size(0) >= most; },
        [&] {
          Outputs made;
          for (size_t i = 0; i + 1 < layers_.size(); ++i) {
            made.push_back(at::empty({most, layers_[i].out_side() * layers_[i].row_size()}, kType));
          }
          return made;
        });
    for (int64_t first = 0; first < z.size(0); first += kDecodedAtOnce) {
      const int64_t count = std::min(kDecodedAtOnce, z.size(0) - first);
      at::Tensor x = Input(z.narrow(0, first, count));
      for (size_t i = 0; i + 1 < layers_.size(); ++i) {
        const int64_t row_size = layers_[i].row_size();
        Bits* to = Pointer(outputs[i]);
        Run(layers_[i], count, x, [&](const SquaresBlock& block, int64_t row, float* /*sums*/) {
          Rectified(block, to + row * row_size);
        });
        x = outputs[i];
      }
      auto* to = out + first * last.out_side() * last.row_size();
      Run(last, count, x, [&](const SquaresBlock& block, int64_t row, float* sums) {
        kernels_.bytes(block, sums, to + row * last.row_size());
      });
    }
    outputs_.Give(std::move(outputs));
  }

 private:
  static constexpr int64_t kSpare = 16;  // numbers that kernels may read or write too much
  static constexpr bool kBf16 = kIsBf16<Element>;
  static constexpr at::ScalarType kType = kTypeOf<Element>;
  using Bits = BitsOf<Element>;
  using Outputs = std::vector<at::Tensor>;  // of all layers but the last: [frames, numbers]

  static Bits* Pointer(const at::Tensor& tensor) {
    return reinterpret_cast<Bits*>(tensor.mutable_data_ptr<Element>());
  }

  void Rectified(const SquaresBlock& block, Bits* out) const {
    if constexpr (kBf16) {
      kernels_.rectified_bf16(block, out);
    } else {
      kernels_.rectified(block, out);
    }
  }

  // [frames, latents] as the first product's input, with the rows that its last task reads.
  at::Tensor Input(const at::Tensor& z) const {
    return PadTo(PadTo(z, 1, layers_[0].in), 0, z.size(0) + 7).to(kType).contiguous();
  }

  // Calls sum(block, row, room for a row's sums) for every row of the outputs, counted over all
  // frames.
  template <typename Sum>
  void Run(const Deconvolution& layer, int64_t frames, const at::Tensor& x, const Sum& sum) const {
    const int64_t threads = at::get_num_threads();
    const int64_t most = std::max<int64_t>(kPixelsOfProduct / (layer.side * layer.side), 1);
    const int64_t turns = DivideUp(frames, threads * most);  // as many groups for every thread
    const int64_t group = DivideUp(frames, threads * turns), groups = DivideUp(frames, group);
    const int64_t strips = std::clamp<int64_t>(threads / groups, 1, layer.side);
    at::parallel_for(0, groups * strips, 1, [&](int64_t begin, int64_t end) {
      const TileScope tiles{kBf16};
      const int64_t pixels = ProductRows(group * layer.side * layer.side);
      const int64_t size = pixels * layer.columns() + layer.row_size() + 2 * kSpare;
      at::Tensor buffer =
          buffers_.Take([&](const at::Tensor& each) { return each.size(0) >= size; },
                        [&] { return at::empty({size}, at::kFloat); });
      for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task / strips * group, count = std::min(group, frames - first);
        Compute(layer, Strip(layer, task % strips, strips), first, count, x,
                buffer.mutable_data_ptr<float>(), sum);
      }
      buffers_.Give(std::move(buffer));
    });
  }

  template <typename Sum>
  void Compute(const Deconvolution& layer, const Strip& strip, int64_t first, int64_t count,
               const at::Tensor& x, float* sums, const Sum& sum) const {
    float* squares = sums + layer.row_size() + kSpare;
    const int64_t row_stride = layer.side * layer.columns();      // of squares
    const int64_t rows_of_frame = strip.end_in - strip.first_in;  // all of them, if count > 1
    const int64_t rows = count * rows_of_frame;
    const int64_t at_once = std::max<int64_t>(kPixelsOfProduct / layer.side, 1);
    const Element* in =
        x.const_data_ptr<Element>() + (first * layer.side + strip.first_in) * layer.side * layer.in;
    for (int64_t row = 0; row < rows; row += at_once) {
      const int64_t some = std::min(at_once, rows - row), pixels = some * layer.side;
      for (int64_t panel = 0; panel < layer.panels; ++panel) {
        // Frames of one pixel come in any number, of which oneDNN would compile a kernel each.
        Multiply(layer.side == 1 ? ProductRows(pixels) : pixels, layer.panel_columns(), layer.in,
                 in + row * layer.side * layer.in, layer.in,
                 layer.weight.const_data_ptr<Element>() + panel * layer.in * layer.panel_columns(),
                 squares + row * row_stride + panel * layer.panel_columns(), layer.columns());
      }
      for (int64_t i = row; i < row + some; ++i) {
        const int64_t frame = i / rows_of_frame, complete = strip.first_in + i % rows_of_frame;
        const int64_t end = complete + 1 == strip.end_in ? strip.end : complete + 1;
        for (int64_t pair = std::max(complete, strip.begin); pair < end; ++pair) {
          for (int64_t odd = 0; odd < 2 && 2 * pair + odd < layer.out_side(); ++odd) {
            sum(Squares(layer, pair, odd, squares + i * row_stride, complete),
                (first + frame) * layer.out_side() + 2 * pair + odd, sums);
          }
        }
      }
    }
  }

  // Of output row 2 pair + odd. squares: of input row `row`; those of earlier rows are before it.
  static SquaresBlock Squares(const Deconvolution& layer, int64_t pair, int64_t odd,
                              const float* squares, int64_t row) {
    const int64_t begin = std::max(pair - row, int64_t{0});  // of the taps, the nearest row first
    const int64_t end = std::min(DivideUp(layer.kernel - odd, 2), pair + 1);
    const int64_t row_stride = layer.side * layer.columns(), of_row = layer.kernel * layer.out;
    const bool own = layer.bias.dim() == 2;  // each pixel's
    return {.side = layer.side,
            .kernel = layer.kernel,
            .channels = layer.out,
            .squares = squares - (row - pair + begin) * row_stride + (2 * begin + odd) * of_row,
            .pixel_stride = layer.columns(),
            .rows = end - begin,
            .row_stride = 2 * of_row - row_stride,
            .bias = layer.bias.const_data_ptr<float>() +
                    (own ? (2 * pair + odd) * layer.row_size() : 0),
            .bias_stride = own ? layer.out : 0};
  }

  std::vector<Deconvolution> layers_;
  DecoderKernels kernels_;
  mutable ScratchPool<Outputs> outputs_;
  mutable ScratchPool<at::Tensor> buffers_;  // of tasks: a row of sums, and squares
};

}  // namespace

std::unique_ptr<const FrozenDecoder> MakeDecoderCpu(const Vision& vision, at::ScalarType dtype) {
  if (dtype == at::kBFloat16) return std::make_unique<DecoderCpu<at::BFloat16>>(vision);
  return std::make_unique<DecoderCpu<float>>(vision);
}

}  // namespace genie_env
