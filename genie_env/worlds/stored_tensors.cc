#include "genie_env/worlds/stored_tensors.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>

#include <cstring>

#include "genie_env/core/error.h"
#include "genie_env/core/text.h"
#include "genie_env/io/json_text.h"
#include "genie_env/io/safetensors.h"

namespace genie_env {
namespace {

at::Tensor ToFloat(const TensorView& view, const std::string& place) {
  at::ScalarType dtype;
  switch (view.type) {
    case StoredType::kFloat16:
      dtype = at::kHalf;
      break;
    case StoredType::kBFloat16:
      dtype = at::kBFloat16;
      break;
    case StoredType::kFloat32:
      dtype = at::kFloat;
      break;
    case StoredType::kFloat64:
      dtype = at::kDouble;
      break;
    default:
      throw FormatError(place + " holds integers, expected floating point");
  }
  const at::Tensor stored = at::empty(view.shape, dtype);
  std::memcpy(stored.mutable_data_ptr(), view.bytes.data(), view.bytes.size());
  at::Tensor tensor = stored.to(at::kFloat);
  if (!tensor.isfinite().all().item<bool>()) {
    throw FormatError(place + " holds a value that is not finite in float32");
  }
  return tensor;
}

}  // namespace

std::map<std::string, at::Tensor> ReadFloatTensors(
    std::span<const std::byte> bytes, const std::filesystem::path& file,
    const std::map<std::string, std::vector<int64_t>>& shapes) {
  const SafetensorsFile stored(bytes, file.string());
  for (const auto& [name, view] : stored.tensors()) {
    if (!shapes.contains(name)) {
      throw FormatError(file.string() + ": tensor " + Quoted(name) + " is unknown");
    }
  }
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, shape] : shapes) {
    const auto found = stored.tensors().find(name);
    if (found == stored.tensors().end()) {
      throw FormatError(file.string() + " has no tensor " + Quoted(name));
    }
    const std::string place = file.string() + ": tensor " + Quoted(name);
    if (!ShapeMatches(found->second.shape, shape) || found->second.bytes.empty()) {
      throw FormatError(place + " has shape " + ShapeText(found->second.shape) + ", expected " +
                        ShapeText(shape));
    }
    tensors.emplace(name, ToFloat(found->second, place));
  }
  return tensors;
}

}  // namespace genie_env
