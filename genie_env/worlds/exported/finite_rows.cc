#include "genie_env/worlds/exported/finite_rows.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

namespace genie_env {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Of float32 numbers: without their signs, as integers, infinity and NaN are above all others.
bool AllFinite(const float* numbers, int64_t count) {
  constexpr int32_t kNoSign = 0x7fffffff, kInfinity = 0x7f800000;
  int32_t largest = 0;  // signed, as every processor's vectors compare such
  for (int64_t i = 0; i < count; ++i) {
    const int32_t bits = std::bit_cast<int32_t>(numbers[i]) & kNoSign;
    largest = bits > largest ? bits : largest;
  }
  return largest < kInfinity;
}

void MarkNotFinite(const at::Tensor& tensor, float* marks) {
  const int64_t rows = tensor.size(0), count = tensor.numel() / std::max<int64_t>(rows, 1);
  constexpr int64_t kGrain = 1 << 16;  // numbers
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(count, 1)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t row = begin; row < end; ++row) {
                       const float* numbers = tensor.const_data_ptr<float>() + row * count;
                       if (!AllFinite(numbers, count)) marks[row] = kNan;
                     }
                   });
}

}  // namespace

at::Tensor ZeroOrNan(const std::vector<at::Tensor>& tensors, int64_t rows, at::Device device) {
  at::Tensor marks = at::zeros({rows}, at::TensorOptions(device).dtype(at::kFloat));
  for (const at::Tensor& tensor : tensors) {
    if (!tensor.is_floating_point() || tensor.numel() == 0) continue;
    if (tensor.is_cpu() && tensor.scalar_type() == at::kFloat) {
      MarkNotFinite(tensor.contiguous(), marks.mutable_data_ptr<float>());
    } else {
      const at::Tensor finite = tensor.isfinite().reshape({rows, -1}).all(1);
      marks.masked_fill_(finite.logical_not(), kNan);
    }
  }
  return marks;
}

}  // namespace genie_env
