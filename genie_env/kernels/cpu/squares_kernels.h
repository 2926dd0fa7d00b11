#pragma once

#include <cstdint>
#include <vector>

namespace genie_env {

// Transposed convolutions of stride 2 on the CPU: each input pixel adds a square of as many pixels
// as the kernel has to the output, whose corner is at twice its place. A matrix product computes
// the squares; these kernels sum them.

/// One row of the output, and the rows of squares that it is the sum of.
struct SquaresBlock {
  int64_t side;      ///< input pixels in a row
  int64_t kernel;    ///< its width
  int64_t channels;  ///< of the output
  /// Of the nearest input row, beginning with the squares' row that is added: [side, kernel,
  /// channels], pixel_stride numbers from pixel to pixel.
  const float* squares;
  int64_t pixel_stride;
  int64_t rows;         ///< of the input that are added
  int64_t row_stride;   ///< numbers from one of them to the next, further one
  const float* bias;    ///< [channels], or one for every pixel of the output
  int64_t bias_stride;  ///< from pixel to pixel, 0 where all have the same
};

/// The kernels of one instruction set. All are pure and thread-safe. A row of the output is
/// [2 (side - 1) + kernel, channels].
struct SquaresKernels {
  const char* instruction_set;
  /// The sum. channels: a multiple of 16.
  void (*sum)(const SquaresBlock&, float* out);
  /// max(sum, 0). channels: a multiple of 16.
  void (*rectified)(const SquaresBlock&, float* out);
  void (*rectified_bf16)(const SquaresBlock&, uint16_t* out);
  /// The sum. channels: at most 4; kernel: even; bias_stride: 0. Reads up to seven numbers after
  /// the last square, and writes as many after the row.
  void (*narrow_sum)(const SquaresBlock&, float* out);
  /// 255 sigmoid(x), rounded to nearest.
  void (*to_bytes)(int64_t size, const float* x, uint8_t* out);
};

/// The kernels that this CPU can run, the fastest last; there is at least one.
std::vector<SquaresKernels> SupportedSquaresKernels();

}  // namespace genie_env
