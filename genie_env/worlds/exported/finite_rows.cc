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

// Of float32 numbers. Without their signs, as integers, infinity and NaN are above all others: one
// exponent more makes them negative.
bool AllFinite(const float* numbers, int64_t count) {
  constexpr uint32_t kNoSign = 0x7fffffff, kOneExponent = 0x00800000, kSign = 0x80000000;
  uint32_t beyond = 0;
  for (int64_t i = 0; i < count; ++i) {
    beyond |= (std::bit_cast<uint32_t>(numbers[i]) & kNoSign) + kOneExponent;
  }
  return (beyond & kSign) == 0;
}

void MarkNotFinite(const at::Tensor& tensor, float* marks) {
  const int64_t rows = tensor.size(0), count = tensor.numel() / std::max<int64_t>(rows, 1);
  const auto* numbers = tensor.const_data_ptr<float>();
  constexpr int64_t kGrain = 1 << 16;  // numbers
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(count, 1)),
                   [&](int64_t begin, int64_t end) {
                     // All rows at once: short ones would take longer one by one.
                     if (AllFinite(numbers + begin * count, (end - begin) * count)) return;
                     for (int64_t row = begin; row < end; ++row) {
                       if (!AllFinite(numbers + row * count, count)) marks[row] = kNan;
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
