#include "genie_env/tensor/check_tensor.h"

#include <stdexcept>

#include "genie_env/core/text.h"

namespace genie_env {
namespace {

std::string NumpyName(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBool:
      return "bool";
    case at::kByte:
      return "uint8";
    case at::kInt:
      return "int32";
    case at::kLong:
      return "int64";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kFloat:
      return "float32";
    case at::kDouble:
      return "float64";
    default:
      return at::toString(dtype);
  }
}

}  // namespace

std::string Describe(at::ScalarType dtype, at::IntArrayRef shape) {
  return NumpyName(dtype) + " " + ShapeText(shape);
}

std::string Describe(const at::Tensor& tensor) {
  return tensor.defined() ? Describe(tensor.scalar_type(), tensor.sizes()) : "no tensor";
}

void CheckTensor(const at::Tensor& tensor, const std::string& name, at::ScalarType dtype,
                 at::IntArrayRef shape) {
  if (!tensor.defined() || tensor.scalar_type() != dtype || !ShapeMatches(tensor.sizes(), shape)) {
    throw std::invalid_argument(name + ": got " + Describe(tensor) + ", expected " +
                                Describe(dtype, shape));
  }
}

at::Tensor CheckRows(const at::Tensor& rows, const char* name, int64_t count) {
  if (!rows.defined() || rows.dim() != 1) {
    throw std::invalid_argument(std::string(name) + ": got " + Describe(rows) +
                                ", expected int64 [R], the numbers of rows");
  }
  CheckTensor(rows, name, at::kLong, {rows.size(0)});
  at::Tensor host = rows.cpu().contiguous();
  const int64_t* row = host.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < host.size(0); ++i) {
    if (row[i] < 0 || row[i] >= count) {
      throw std::invalid_argument(std::string(name) + "[" + std::to_string(i) + "] is " +
                                  std::to_string(row[i]) + ": there are " + std::to_string(count) +
                                  " rows, numbered from 0");
    }
  }
  return host;
}

std::optional<at::Tensor> CheckOptionalRows(const std::optional<at::Tensor>& rows, int64_t count) {
  return rows ? std::optional(CheckRows(*rows, "rows", count)) : std::nullopt;
}

}  // namespace genie_env
