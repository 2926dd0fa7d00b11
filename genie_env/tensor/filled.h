#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>

namespace genie_env {

/// A new tensor [rows] of equal numbers. On the CPU without LibTorch's operators: in a step of few
/// rows, what they do around the numbers takes longer than the numbers.
template <typename Number>
at::Tensor Filled(int64_t rows, Number value, at::Device device) {
  constexpr at::ScalarType kType = c10::CppTypeToScalarType<Number>::value;
  at::Tensor filled = at::empty({rows}, at::TensorOptions(device).dtype(kType));
  if (!device.is_cpu()) return filled.fill_(value);
  std::fill_n(filled.template mutable_data_ptr<Number>(), rows, value);
  return filled;
}

}  // namespace genie_env
