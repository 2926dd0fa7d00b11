#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

namespace genie_env {

/// "float32 [8, 64]": what a tensor is, in NumPy's words, for errors. In a shape, -1 stands for any
/// length.
std::string Describe(const at::Tensor& tensor);
std::string Describe(at::ScalarType dtype, at::IntArrayRef shape);

/// Throws std::invalid_argument unless the tensor has this dtype and shape.
void CheckTensor(const at::Tensor& tensor, const std::string& name, at::ScalarType dtype,
                 at::IntArrayRef shape);

/// int64 [R] with 0 <= row < count, or std::invalid_argument. Returns a contiguous copy or view of
/// it on the CPU.
at::Tensor CheckRows(const at::Tensor& rows, const char* name, int64_t count);

/// The same, called "rows", where there are any.
std::optional<at::Tensor> CheckOptionalRows(const std::optional<at::Tensor>& rows, int64_t count);

}  // namespace genie_env
