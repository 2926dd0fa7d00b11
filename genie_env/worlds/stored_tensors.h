#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace genie_env {

/// Reads a safetensors file that must hold exactly the tensors named in `shapes`, in floating point
/// of any width and without NaN or infinity; -1 in a shape stands for any length above 0. Returns
/// them in float32. Throws FormatError naming the file and the tensor.
std::map<std::string, at::Tensor> ReadFloatTensors(
    const std::filesystem::path& file, const std::map<std::string, std::vector<int64_t>>& shapes);

}  // namespace genie_env
