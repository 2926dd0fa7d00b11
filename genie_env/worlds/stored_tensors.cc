#include "genie_env/worlds/stored_tensors.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>

#include <cstring>

#include "genie_env/core/error.h"
#include "genie_env/io/json_text.h"
#include "genie_env/io/safetensors.h"

namespace genie_env {
namespace {

std::string Text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t length : shape) {
    text += (text.empty() ? "" : ", ") + (length < 0 ? "any" : std::to_string(length));
  }
  return "[" + text + "]";
}

bool Matches(const std::vector<int64_t>& shape, const std::vector<int64_t>& expected) {
  bool matches = shape.size() == expected.size();
  for (size_t i = 0; matches && i < shape.size(); ++i) {
    matches = expected[i] < 0 ? shape[i] > 0 : shape[i] == expected[i];
  }
  return matches;
}

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
    const std::filesystem::path& file, const std::map<std::string, std::vector<int64_t>>& shapes) {
  const SafetensorsFile stored(file);
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
    if (!Matches(found->second.shape, shape)) {
      throw FormatError(place + " has shape " + Text(found->second.shape) + ", expected " +
                        Text(shape));
    }
    tensors.emplace(name, ToFloat(found->second, place));
  }
  return tensors;
}

}  // namespace genie_env
