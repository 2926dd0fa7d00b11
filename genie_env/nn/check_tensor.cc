#include "genie_env/nn/check_tensor.h"

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

}  // namespace genie_env
