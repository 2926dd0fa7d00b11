#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "genie_env/kernels/cpu/packed_gemm.h"
#include "genie_env/kernels/cpu/squares_kernels.h"
#include "genie_env/tensor/scratch_pool.h"

namespace genie_env {

inline int64_t DivideUp(int64_t number, int64_t by) { return (number + by - 1) / by; }

/// A transposed convolution of stride 2 with packed weights: a product, in which every pixel of the
/// input gives a square of kernel pixels, and a sum of the squares at their places
/// (squares_kernels.h). Its output is computed in tasks of (a few frames) x (a strip of the
/// output's rows): the squares of a few rows of the input, then the output's rows that they
/// complete, while the squares are in a core's cache. The bits of a frame depend on that frame
/// alone, since its sums have one order whatever the tasks. Element: of the product's inputs, float
/// or at::BFloat16. Pixels lie row by row, channels innermost. Thread-safe.
template <typename Element>
class PackedDeconvolution {
 public:
  /// weight: float32 [in, out, height and width of the kernel]. bias: float32 [out], or [out_height
  /// x out_width, out]. height, width: of the input, in pixels.
  PackedDeconvolution(const at::Tensor& weight, const at::Tensor& bias, int64_t height,
                      int64_t width)
      : in_(kIsBf16<Element> ? DivideUp(weight.size(0), 2) * 2 : weight.size(0)),
        out_(weight.size(1)),
        kernel_height_(weight.size(2)),
        kernel_width_(weight.size(3)),
        height_(height),
        width_(width),
        bias_(bias.contiguous()) {
    if (!kIsBf16<Element> && columns() % kPanelColumns == 0) panels_ = columns() / kPanelColumns;
    const at::Tensor rows = PadTo(weight, 0, in_).permute({2, 3, 1, 0});  // [ky, kx, out, in]
    weight_ = PackedPanels<Element>(rows.reshape({panels_, columns() / panels_, in_}));
  }

  int64_t in() const { return in_; }  ///< the input's channels, made even in bfloat16
  int64_t out_height() const { return 2 * (height_ - 1) + kernel_height_; }
  int64_t out_width() const { return 2 * (width_ - 1) + kernel_width_; }
  int64_t row_size() const { return out_width() * out_; }
  int64_t frame_size() const { return out_height() * row_size(); }

  /// Calls sum(block, row, room) for every row of the outputs of `frames` inputs, counted over all
  /// frames, on all threads. x: [frames, height, width, in]; where these are one pixel, seven
  /// frames more are read. room: for a row and kSpare numbers, the thread's own.
  template <typename Sum>
  void Run(int64_t frames, const Element* x, const Sum& sum) const {
    if (frames == 0) return;
    const int64_t threads = at::get_num_threads();
    const int64_t most = std::max<int64_t>(pixels_of_product() / (height_ * width_), 1);
    const int64_t turns = DivideUp(frames, threads * most);  // as many groups for every thread
    const int64_t group = DivideUp(frames, threads * turns), groups = DivideUp(frames, group);
    const int64_t strips = std::clamp<int64_t>(threads / groups, 1, height_);
    at::parallel_for(0, groups * strips, 1, [&](int64_t begin, int64_t end) {
      const TileScope tiles{kIsBf16<Element>};
      const int64_t pixels = ProductRows(group * height_ * width_);
      const int64_t size = row_size() + kSpare + pixels * columns() + kSpare;
      at::Tensor buffer =
          buffers_.Take([&](const at::Tensor& each) { return each.size(0) >= size; },
                        [&] { return at::empty({size}, at::kFloat); });
      for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task / strips * group, count = std::min(group, frames - first);
        Compute(StripOf(task % strips, strips), first, count, x, buffer.mutable_data_ptr<float>(),
                sum);
      }
      buffers_.Give(std::move(buffer));
    });
  }

  static constexpr int64_t kSpare = 16;  ///< numbers that kernels may read or write too much

 private:
  static constexpr int64_t kPixelsOfProduct = 176;
  static constexpr int64_t kNumbersOfProduct = 1 << 20;  // at most, unless one pixel has more
  static constexpr int64_t kPanelColumns = 64;  // in float32; in bfloat16 one panel is faster

  // Some pairs of the output's rows, and the rows of the input that they depend on.
  struct Strip {
    int64_t begin, end, first_in, end_in;
  };

  Strip StripOf(int64_t index, int64_t strips) const {
    const int64_t begin = index * pairs() / strips, end = (index + 1) * pairs() / strips;
    return {begin, end, std::max<int64_t>(begin + height_ - pairs(), 0), std::min(end, height_)};
  }

  int64_t pairs() const { return height_ + DivideUp(kernel_height_, 2) - 1; }  // of output rows
  int64_t columns() const { return kernel_height_ * kernel_width_ * out_; }
  int64_t pixels_of_product() const {
    return std::clamp<int64_t>(kNumbersOfProduct / columns(), 1, kPixelsOfProduct);
  }

  template <typename Sum>
  void Compute(const Strip& strip, int64_t first, int64_t count, const Element* x, float* room,
               const Sum& sum) const {
    float* squares = room + row_size() + kSpare;
    const int64_t row_stride = width_ * columns();                // of squares
    const int64_t rows_of_frame = strip.end_in - strip.first_in;  // all of them, if count > 1
    const int64_t rows = count * rows_of_frame;
    const bool one_pixel = height_ == 1 && width_ == 1;
    const int64_t at_once = std::max<int64_t>(pixels_of_product() / width_, 1);
    const Element* in = x + (first * height_ + strip.first_in) * width_ * in_;
    for (int64_t row = 0; row < rows; row += at_once) {
      const int64_t some = std::min(at_once, rows - row), pixels = some * width_;
      for (int64_t panel = 0; panel < panels_; ++panel) {
        // Frames of one pixel come in any number, of which oneDNN would compile a kernel each.
        weight_.Multiply(panel, one_pixel ? ProductRows(pixels) : pixels, in + row * width_ * in_,
                         in_, squares + row * row_stride + panel * weight_.columns(), columns());
      }
      for (int64_t i = row; i < row + some; ++i) {
        const int64_t frame = i / rows_of_frame, complete = strip.first_in + i % rows_of_frame;
        const int64_t end = complete + 1 == strip.end_in ? strip.end : complete + 1;
        for (int64_t pair = std::max(complete, strip.begin); pair < end; ++pair) {
          for (int64_t odd = 0; odd < 2 && 2 * pair + odd < out_height(); ++odd) {
            sum(Squares(pair, odd, squares + i * row_stride, complete),
                (first + frame) * out_height() + 2 * pair + odd, room);
          }
        }
      }
    }
  }

  // Of output row 2 pair + odd. squares: of input row `row`; those of earlier rows are before it.
  SquaresBlock Squares(int64_t pair, int64_t odd, const float* squares, int64_t row) const {
    const int64_t begin = std::max(pair - row, int64_t{0});  // of the taps, the nearest row first
    const int64_t end = std::min(DivideUp(kernel_height_ - odd, 2), pair + 1);
    const int64_t row_stride = width_ * columns(), of_row = kernel_width_ * out_;
    const bool own = bias_.dim() == 2;  // each pixel's
    return {
        .side = width_,
        .kernel = kernel_width_,
        .channels = out_,
        .squares = squares - (row - pair + begin) * row_stride + (2 * begin + odd) * of_row,
        .pixel_stride = columns(),
        .rows = end - begin,
        .row_stride = 2 * of_row - row_stride,
        .bias = bias_.template const_data_ptr<float>() + (own ? (2 * pair + odd) * row_size() : 0),
        .bias_stride = own ? out_ : 0};
  }

  int64_t in_, out_, kernel_height_, kernel_width_, height_, width_;
  int64_t panels_ = 1;  // of columns; a panel of weights stays in a small cache
  PackedPanels<Element> weight_;
  at::Tensor bias_;
  mutable ScratchPool<at::Tensor> buffers_;  // of tasks: a row of sums, and squares
};

}  // namespace genie_env
