#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace genie_env {

/// "float32 [8, 64]": what a tensor is, in NumPy's words, for errors. In a shape, -1 stands for any
/// length.
std::string Describe(const at::Tensor& tensor);
std::string Describe(at::ScalarType dtype, at::IntArrayRef shape);

/// Throws std::invalid_argument unless the tensor has this dtype and shape.
void CheckTensor(const at::Tensor& tensor, const std::string& name, at::ScalarType dtype,
                 at::IntArrayRef shape);

}  // namespace genie_env
