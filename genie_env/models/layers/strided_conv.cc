#include "genie_env/models/layers/strided_conv.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/conv_transpose2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/threshold_backward.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "genie_env/kernels/cpu/deconvolution.h"
#include "genie_env/models/layers/once_differentiable.h"
#include "genie_env/tensor/check_tensor.h"

// A convolution and its transpose have the same weights, [small channels, large channels, kernel,
// kernel], between a small image and a large one. Each of the four passes (of both, forward and
// backward) goes from one image to the other: to the large one by PackedDeconvolution, to the small
// one by a product with the large one's columns (what the kernel covers at each pixel, side by
// side). The gradient of the weights is the product of the small image and those columns.

namespace genie_env {
namespace {

constexpr int64_t kStride = 2;
constexpr int64_t kPixelsOfProduct = 176, kNumbersOfColumns = 1 << 17;  // at most, at once
constexpr int64_t kPanelColumns = 64;

// The sizes of a convolution: of images [frames, height, width, channels], small and large.
struct Sizes {
  Sizes(const at::Tensor& weight, const at::Tensor& large)
      : frames(large.size(0)),
        small_channels(weight.size(0)),
        channels(weight.size(1)),
        kernel(weight.size(2)),
        large_height(large.size(1)),
        large_width(large.size(2)),
        height((large_height - kernel) / kStride + 1),
        width((large_width - kernel) / kStride + 1) {}
  int64_t frames, small_channels, channels, kernel, large_height, large_width, height, width;

  int64_t columns() const { return kernel * kernel * channels; }
  int64_t rows() const { return frames * height; }  // of small pixels, in all frames
  at::Tensor SmallImage() const {
    return at::empty({frames, height, width, small_channels}, at::kFloat);
  }
};

// [small channels, kernel x kernel x channels]
at::Tensor Flat(const at::Tensor& weight) {
  return weight.permute({0, 2, 3, 1}).contiguous().flatten(1);
}

// The columns of one row of small pixels: [width, kernel, kernel x channels].
void CopyColumns(const Sizes& sizes, const float* large, int64_t row, float* columns) {
  const int64_t line = sizes.large_width * sizes.channels, size = sizes.kernel * sizes.channels;
  const float* first =
      large + (row / sizes.height * sizes.large_height + row % sizes.height * kStride) * line;
  for (int64_t pixel = 0; pixel < sizes.width; ++pixel) {
    const float* from = first + pixel * kStride * sizes.channels;
    for (int64_t y = 0; y < sizes.kernel; ++y, columns += size) {
      std::memcpy(columns, from + y * line, size * sizeof(float));
    }
  }
}

// How the rows of all small pixels are divided.
struct Parts {
  explicit Parts(const Sizes& sizes) {
    const int64_t most = std::min(kPixelsOfProduct, kNumbersOfColumns / sizes.columns());
    const int64_t of_thread = DivideUp(sizes.rows(), at::get_num_threads());
    rows = std::max<int64_t>(std::min(most / sizes.width, of_thread), 1);
    count = DivideUp(sizes.rows(), rows);
    threads = std::min<int64_t>(at::get_num_threads(), count);
  }
  int64_t rows;     // of a part, at most
  int64_t count;    // of parts
  int64_t threads;  // that work, at most
};

// Calls use(first pixel, pixels, columns) for every part, on all threads.
template <typename Use>
void ForEachColumns(const Sizes& sizes, const at::Tensor& large, const Use& use) {
  const Parts parts(sizes);
  at::parallel_for(0, parts.count, 1, [&](int64_t begin, int64_t end) {
    const TileScope tiles{false};
    const at::Tensor buffer = at::empty({parts.rows * sizes.width, sizes.columns()}, at::kFloat);
    auto* columns = buffer.mutable_data_ptr<float>();
    for (int64_t part = begin; part < end; ++part) {
      const int64_t first = part * parts.rows;
      const int64_t rows = std::min(parts.rows, sizes.rows() - first);
      for (int64_t row = 0; row < rows; ++row) {
        CopyColumns(sizes, large.const_data_ptr<float>(), first + row,
                    columns + row * sizes.width * sizes.columns());
      }
      use(first * sizes.width, rows * sizes.width, columns);
    }
  });
}

// small[first ..] += columns W^T. transposed: W^T, [columns, small channels].
void AddProduct(const Sizes& sizes, int64_t first, int64_t pixels, const float* columns,
                const at::Tensor& transposed, const at::Tensor& small) {
  const int64_t channels = sizes.small_channels;
  for (int64_t channel = 0; channel < channels; channel += kPanelColumns) {
    MultiplyStrided(pixels, std::min(kPanelColumns, channels - channel), sizes.columns(), columns,
                    sizes.columns(), transposed.const_data_ptr<float>() + channel, channels,
                    small.mutable_data_ptr<float>() + first * channels + channel, channels,
                    /*add=*/true);
  }
}

// Sums of the weights' gradients, one a thread.
class WeightGradient {
 public:
  // small: the small image, or its gradient.
  WeightGradient(const Sizes& sizes, const at::Tensor& small)
      : sizes_(sizes),
        small_(small),
        most_(Parts(sizes).rows * sizes.width),
        transposed_(at::empty({Parts(sizes).threads, sizes.small_channels, most_}, at::kFloat)),
        sums_(
            at::zeros({Parts(sizes).threads, sizes.small_channels, sizes.columns()}, at::kFloat)) {}

  void Add(int64_t first, int64_t pixels, const float* columns) const {
    const int64_t size = sizes_.columns(), channels = sizes_.small_channels;
    const int64_t thread = at::get_thread_num();
    float* sums = sums_.mutable_data_ptr<float>() + thread * channels * size;
    // Its stride is always the same: oneDNN compiles a kernel for each.
    float* transposed = transposed_.mutable_data_ptr<float>() + thread * channels * most_;
    const float* small = small_.const_data_ptr<float>() + first * channels;
    for (int64_t channel = 0; channel < channels; ++channel) {
      for (int64_t pixel = 0; pixel < pixels; ++pixel) {
        transposed[channel * most_ + pixel] = small[pixel * channels + channel];
      }
    }
    const int64_t panel = size % kPanelColumns == 0 ? kPanelColumns : size;
    for (int64_t column = 0; column < size; column += panel) {
      MultiplyStrided(channels, panel, pixels, transposed, most_, columns + column, size,
                      sums + column, size, /*add=*/true);
    }
  }

  // As the weight is shaped.
  at::Tensor Total() const {
    return sums_.sum(0)
        .view({sizes_.small_channels, sizes_.kernel, sizes_.kernel, sizes_.channels})
        .permute({0, 3, 1, 2});
  }

 private:
  const Sizes& sizes_;
  at::Tensor small_;
  int64_t most_;           // pixels of a part
  at::Tensor transposed_;  // [threads, small channels, pixels]
  at::Tensor sums_;        // [threads, small channels, columns]
};

// The large image, [frames, height, width, channels], of a small one.
at::Tensor Spread(const at::Tensor& small, const at::Tensor& weight, const at::Tensor& bias,
                  int64_t height, int64_t width, bool rectified) {
  static const SquaresKernels kernels = SupportedSquaresKernels().back();
  const PackedDeconvolution<float> layer(weight, bias, small.size(1), small.size(2));
  const int64_t channels = weight.size(1), frames = small.size(0);
  const std::vector<int64_t> shape{frames, height, width, channels};
  // Pixels at the edge may be further than any square.
  const bool covered = layer.out_height() == height && layer.out_width() == width;
  at::Tensor large = covered ? at::empty(shape, at::kFloat) : at::zeros(shape, at::kFloat);
  auto* to = large.mutable_data_ptr<float>();
  // Frames of one pixel are read a few further than there are.
  const bool one_pixel = small.size(1) == 1 && small.size(2) == 1;
  const at::Tensor input = one_pixel ? PadTo(small, 0, frames + 7) : small;
  layer.Run(frames, input.const_data_ptr<float>(),
            [&](const SquaresBlock& block, int64_t row, float* room) {
              float* out = to + (row / layer.out_height() * height + row % layer.out_height()) *
                                    width * channels;
              if (channels % 16 != 0) {
                kernels.narrow_sum(block, room);
                std::memcpy(out, room, layer.row_size() * sizeof(float));
              } else if (rectified) {
                kernels.rectified(block, out);
              } else {
                kernels.sum(block, out);
              }
            });
  if (rectified && channels % 16 != 0) large.relu_();
  return large;
}

// x: [frames, height, width, channels], at least as large as the kernel where it is convolved.
void CheckInput(const at::Tensor& x, int64_t channels, int64_t least_side) {
  CheckTensor(x, "x", x.scalar_type(), {-1, -1, -1, channels});
  if (std::min(x.size(1), x.size(2)) >= least_side) return;
  throw std::invalid_argument("x is " + Describe(x) + ", expected at least " +
                              std::to_string(least_side) + " pixels a side");
}

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

struct ConvolutionFunction : torch::autograd::Function<ConvolutionFunction> {
  static Variable forward(AutogradContext* context, const Variable& x, const Variable& weight,
                          const Variable& bias) {
    const Sizes sizes(weight, x);
    const at::Tensor transposed = Flat(weight).t().contiguous();
    at::Tensor y = sizes.SmallImage();
    y.copy_(bias.expand_as(y));
    ForEachColumns(sizes, x, [&](int64_t first, int64_t pixels, const float* columns) {
      AddProduct(sizes, first, pixels, columns, transposed, y);
    });
    y.relu_();
    context->save_for_backward({x, weight, y});
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    RefuseSecondDerivative("convolutions of stride 2");
    const variable_list saved = context->get_saved_variables();
    const Variable &x = saved[0], &weight = saved[1], &y = saved[2];
    const Sizes sizes(weight, x);
    const at::Tensor gradient = at::threshold_backward(gradients[0], y, 0).contiguous();
    const WeightGradient of_weight(sizes, gradient);
    ForEachColumns(sizes, x, [&](int64_t first, int64_t pixels, const float* columns) {
      of_weight.Add(first, pixels, columns);
    });
    Variable of_x;
    if (context->needs_input_grad(0)) {
      const at::Tensor zeros = at::zeros({sizes.channels}, at::kFloat);
      of_x = Spread(gradient, weight, zeros, sizes.large_height, sizes.large_width,
                    /*rectified=*/false);
    }
    return {of_x, of_weight.Total(), gradient.sum({0, 1, 2})};
  }
};

struct DeconvolutionFunction : torch::autograd::Function<DeconvolutionFunction> {
  static Variable forward(AutogradContext* context, const Variable& x, const Variable& weight,
                          const Variable& bias, bool rectified) {
    const int64_t height = kStride * (x.size(1) - 1) + weight.size(2);
    const int64_t width = kStride * (x.size(2) - 1) + weight.size(3);
    at::Tensor y = Spread(x, weight, bias, height, width, rectified);
    context->save_for_backward({x, weight, rectified ? y : Variable()});
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    RefuseSecondDerivative("convolutions of stride 2");
    const variable_list saved = context->get_saved_variables();
    const Variable &x = saved[0], &weight = saved[1], &y = saved[2];
    at::Tensor gradient = gradients[0];
    if (y.defined()) gradient = at::threshold_backward(gradient, y, 0);
    gradient = gradient.contiguous();
    const Sizes sizes(weight, gradient);
    const at::Tensor transposed = Flat(weight).t().contiguous();
    const at::Tensor of_x = at::zeros_like(x);
    const WeightGradient of_weight(sizes, x);
    ForEachColumns(sizes, gradient, [&](int64_t first, int64_t pixels, const float* columns) {
      AddProduct(sizes, first, pixels, columns, transposed, of_x);
      of_weight.Add(first, pixels, columns);
    });
    return {of_x, of_weight.Total(), gradient.sum({0, 1, 2}), Variable()};
  }
};

// Whether our products and sums can compute the layer. channels: of the large image, if it is
// computed.
bool Packed(const at::Tensor& x, const at::Tensor& weight) {
  const int64_t channels = weight.size(1), kernel = weight.size(2);
  return x.is_cpu() && x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat &&
         !at::autocast::is_autocast_enabled(at::kCPU) && at::globalContext().userEnabledMkldnn() &&
         (channels % 16 == 0 || (channels <= 4 && kernel % 2 == 0));
}

}  // namespace

at::Tensor RectifiedConvolution(const at::Tensor& x, const at::Tensor& weight,
                                const at::Tensor& bias) {
  CheckInput(x, weight.size(1), weight.size(2));
  if (Packed(x, weight)) return ConvolutionFunction::apply(x.contiguous(), weight, bias);
  const at::Tensor y = at::conv2d(x.permute({0, 3, 1, 2}), weight, bias, kStride);
  return at::relu(y).permute({0, 2, 3, 1});
}

at::Tensor TransposedConvolution(const at::Tensor& x, const at::Tensor& weight,
                                 const at::Tensor& bias, bool rectified) {
  CheckInput(x, weight.size(0), 1);
  if (x.size(1) == 1 && x.size(2) == 1) {  // one square; the weights are not copied
    const at::Tensor squares = at::matmul(x.flatten(1), weight.flatten(1));
    const at::Tensor y =
        squares.view({-1, weight.size(1), weight.size(2), weight.size(3)}).permute({0, 2, 3, 1}) +
        bias;
    return rectified ? at::relu(y) : y;
  }
  if (Packed(x, weight)) {
    return DeconvolutionFunction::apply(x.contiguous(), weight, bias, rectified);
  }
  const at::Tensor y = at::conv_transpose2d(x.permute({0, 3, 1, 2}), weight, bias, kStride);
  return (rectified ? at::relu(y) : y).permute({0, 2, 3, 1});
}

}  // namespace genie_env
