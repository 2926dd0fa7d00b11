#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace genie_env {

// Rows of tensors whose first dimension is the row, named by `rows`: int64 [R], contiguous, on the
// CPU, each within the tensor. On the CPU they are copied as bytes: few rows begin or fork at a
// time, and LibTorch's operators take longer to be called than that takes.

/// tensor[rows[i]], fresh, on the device of `tensor`.
at::Tensor GatherRows(const at::Tensor& tensor, const at::Tensor& rows);

/// The same; without rows it is the tensor itself.
at::Tensor SelectRows(const at::Tensor& tensor, const std::optional<at::Tensor>& rows);

/// tensor[rows[i]] = values[i]; both have one dtype, `values` lies on any device.
void ScatterRows(const at::Tensor& tensor, const at::Tensor& rows, const at::Tensor& values);

}  // namespace genie_env
