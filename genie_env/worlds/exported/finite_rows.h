#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace genie_env {

/// float32 [rows] on `device`: 0 where every floating-point number of the row is finite in all
/// `tensors` ([rows, ...], contiguous or not), NaN elsewhere.
at::Tensor ZeroOrNan(const std::vector<at::Tensor>& tensors, int64_t rows, at::Device device);

}  // namespace genie_env
