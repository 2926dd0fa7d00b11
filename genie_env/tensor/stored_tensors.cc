#include "genie_env/tensor/stored_tensors.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/core/text.h"
#include "genie_env/io/json_check.h"
#include "genie_env/tensor/check_tensor.h"

namespace genie_env {
namespace {

constexpr std::pair<StoredType, at::ScalarType> kTorchTypes[] = {
    {StoredType::kBool, at::kBool},         {StoredType::kUInt8, at::kByte},
    {StoredType::kInt64, at::kLong},        {StoredType::kFloat16, at::kHalf},
    {StoredType::kBFloat16, at::kBFloat16}, {StoredType::kFloat32, at::kFloat},
    {StoredType::kFloat64, at::kDouble}};

at::Tensor ToFloat(const TensorView& view, const std::string& place) {
  const at::Tensor stored = CopyOf(view);
  if (!stored.is_floating_point()) {
    throw FormatError(place + " holds integers, expected floating point");
  }
  at::Tensor tensor = stored.to(at::kFloat);
  if (!tensor.isfinite().all().item<bool>()) {
    throw FormatError(place + " holds a value that is not finite in float32");
  }
  return tensor;
}

// Calls take(name, tensor, place) for each tensor. The file must hold exactly the tensors named in
// `shapes`, of these shapes.
template <typename TakeTensor>
void ReadEach(std::span<const std::byte> bytes, const std::filesystem::path& file,
              const std::map<std::string, std::vector<int64_t>>& shapes, const TakeTensor& take) {
  const SafetensorsFile stored(bytes, file.string());
  for (const auto& [name, view] : stored.tensors()) {
    if (!shapes.contains(name)) {
      throw FormatError(file.string() + ": tensor " + Quoted(name) + " is unknown");
    }
  }
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
    take(name, found->second, place);
  }
}

}  // namespace

TensorView ViewOf(const at::Tensor& tensor) {
  const auto* type = std::ranges::find(kTorchTypes, tensor.scalar_type(),
                                       &std::pair<StoredType, at::ScalarType>::second);
  if (type == std::end(kTorchTypes)) {
    throw std::invalid_argument(std::string("a tensor of type ") +
                                c10::toString(tensor.scalar_type()) +
                                " cannot be stored; expected bool, uint8, int64 or floating point");
  }
  return {.type = type->first,
          .shape = tensor.sizes().vec(),
          .bytes = {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
}

at::Tensor CopyOf(const TensorView& view) {
  const auto* type =
      std::ranges::find(kTorchTypes, view.type, &std::pair<StoredType, at::ScalarType>::first);
  at::Tensor copy = at::empty(view.shape, type->second);
  if (!view.bytes.empty()) {
    std::memcpy(copy.mutable_data_ptr(), view.bytes.data(), view.bytes.size());
  }
  return copy;
}

std::map<std::string, at::Tensor> ReadFloatTensors(
    std::span<const std::byte> bytes, const std::filesystem::path& file,
    const std::map<std::string, std::vector<int64_t>>& shapes) {
  std::map<std::string, at::Tensor> tensors;
  ReadEach(bytes, file, shapes,
           [&](const std::string& name, const TensorView& view, const std::string& place) {
             tensors.emplace(name, ToFloat(view, place));
           });
  return tensors;
}

std::vector<at::Tensor> ReadTensors(std::span<const std::byte> bytes,
                                    const std::filesystem::path& file,
                                    const std::vector<ExpectedTensor>& expected) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& [name, type, shape] : expected) shapes.emplace(name, shape);
  std::map<std::string, at::Tensor> tensors;
  ReadEach(bytes, file, shapes,
           [&](const std::string& name, const TensorView& view, const std::string& place) {
             const StoredType type = std::ranges::find(expected, name, &ExpectedTensor::name)->type;
             at::Tensor tensor = CopyOf(view);
             if (view.type != type) {
               throw FormatError(place + " holds " + Describe(tensor) + ", expected " +
                                 Describe(CopyOf({.type = type, .shape = {0}, .bytes = {}})));
             }
             if (tensor.is_floating_point() && !tensor.isfinite().all().item<bool>()) {
               throw FormatError(place + " holds a value that is not finite");
             }
             tensors.emplace(name, std::move(tensor));
           });
  std::vector<at::Tensor> ordered;
  ordered.reserve(expected.size());
  for (const ExpectedTensor& each : expected) ordered.push_back(tensors.at(each.name));
  return ordered;
}

at::Tensor ReadIndices(std::span<const std::byte> bytes, const std::filesystem::path& file,
                       const std::string& name, const std::vector<int64_t>& shape, int64_t count) {
  at::Tensor indices;
  ReadEach(bytes, file, {{name, shape}},
           [&](const std::string&, const TensorView& view, const std::string& place) {
             if (view.type != StoredType::kInt64) throw FormatError(place + " is not of int64");
             indices = CopyOf(view);
             for (int64_t i = 0; i < indices.numel(); ++i) {
               const int64_t index = indices.const_data_ptr<int64_t>()[i];
               if (index < 0 || index >= count) {
                 throw FormatError(place + " holds " + std::to_string(index) + ", expected 0 to " +
                                   std::to_string(count - 1));
               }
             }
           });
  return indices;
}

}  // namespace genie_env
