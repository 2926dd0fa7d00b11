#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

namespace genie_env {

/// Names a dtype, in NumPy's words, and a shape for errors: "float32 [8, 64]". In a shape, -1
/// stands for any length.
std::string Describe(const at::Tensor& tensor);
std::string Describe(at::ScalarType dtype, at::IntArrayRef shape);

/// Throws std::invalid_argument unless the tensor has this dtype and shape.
void CheckTensor(const at::Tensor& tensor, const std::string& name, at::ScalarType dtype,
                 at::IntArrayRef shape);

/// Throws std::invalid_argument unless `rows` is int64 [R] with 0 <= row < count. Returns a
/// contiguous copy or view of it on the CPU.
at::Tensor CheckRows(const at::Tensor& rows, const char* name, int64_t count);

/// CheckRows for an argument called "rows", where it is given.
std::optional<at::Tensor> CheckOptionalRows(const std::optional<at::Tensor>& rows, int64_t count);

}  // namespace genie_env
