#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace genie_env {

// These functions copy rows of tensors; the first dimension of a tensor is the row. `rows`: int64
// [R], contiguous, on the CPU, each within the tensor. On the CPU, rows are copied as bytes: few
// rows begin or fork at a time, and calling LibTorch's operators takes longer than the copy.

/// A new tensor of tensor[rows[i]], on the device of `tensor`.
at::Tensor GatherRows(const at::Tensor& tensor, const at::Tensor& rows);

/// GatherRows, or the tensor itself where no rows are given.
at::Tensor SelectRows(const at::Tensor& tensor, const std::optional<at::Tensor>& rows);

/// tensor[rows[i]] = values[i]. Both have the same dtype; `values` may be on any device.
void ScatterRows(const at::Tensor& tensor, const at::Tensor& rows, const at::Tensor& values);

}  // namespace genie_env
