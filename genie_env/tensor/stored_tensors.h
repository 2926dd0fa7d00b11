#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "genie_env/io/safetensors.h"

namespace genie_env {

/// A view of the bytes of a tensor, which must be contiguous and on the CPU. Throws
/// std::invalid_argument where its type is not one that is stored.
TensorView ViewOf(const at::Tensor& tensor);

/// A copy of a stored tensor, in its stored type.
at::Tensor CopyOf(const TensorView& view);

/// Copies tensors out of the bytes of a safetensors file, which must hold exactly those named in
/// `shapes`, in floating point of any width and without NaN or infinity; -1 in a shape stands for
/// any length above 0. Returns them in float32. Throws FormatError naming `file` and the tensor.
std::map<std::string, at::Tensor> ReadFloatTensors(
    std::span<const std::byte> bytes, const std::filesystem::path& file,
    const std::map<std::string, std::vector<int64_t>>& shapes);

/// A tensor that a file must hold; -1 in its shape stands for any length above 0.
struct ExpectedTensor {
  std::string name;
  StoredType type = StoredType::kFloat32;
  std::vector<int64_t> shape;
};

/// Copies tensors out of the bytes of a safetensors file, which must hold exactly those, of these
/// types and without NaN or infinity. Returns them in the order of `expected`. Throws as above.
std::vector<at::Tensor> ReadTensors(std::span<const std::byte> bytes,
                                    const std::filesystem::path& file,
                                    const std::vector<ExpectedTensor>& expected);

/// Copies the one tensor of a safetensors file, which must be called `name` and hold int64 from 0
/// to count - 1. Throws FormatError as above.
at::Tensor ReadIndices(std::span<const std::byte> bytes, const std::filesystem::path& file,
                       const std::string& name, const std::vector<int64_t>& shape, int64_t count);

}  // namespace genie_env
