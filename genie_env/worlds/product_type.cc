#include "genie_env/worlds/product_type.h"

#include <ATen/core/Tensor.h>

#include <stdexcept>

#include "genie_env/kernels/cpu/packed_gemm.h"

namespace genie_env {

at::ScalarType ProductTypeOf(const std::string& name, at::Device device) {
  if (name == "float32") return at::kFloat;
  if (name == "auto") return device.is_cpu() && Bf16IsFaster() ? at::kBFloat16 : at::kFloat;
  if (name != "bfloat16") {
    throw std::invalid_argument("dtype is \"" + name +
                                "\", expected \"auto\", \"float32\" or \"bfloat16\"");
  }
  if (const std::string obstacle = device.is_cpu() ? Bf16UnavailableReason() : "";
      !obstacle.empty()) {
    throw std::invalid_argument("dtype is \"bfloat16\", but " + obstacle +
                                ": give \"float32\" or \"auto\"");
  }
  return at::kBFloat16;
}

}  // namespace genie_env
