#include "genie_env/kernels/cpu/packed_product.h"

#include <torch/csrc/utils/pybind.h>

#include <stdexcept>
#include <string>

#include "genie_env/tensor/check_tensor.h"
#include "genie_env/worlds/product_type.h"

namespace genie_env {
namespace py = pybind11;

namespace {

// A matrix [-1, columns] on the CPU.
void CheckMatrix(const at::Tensor& matrix, const char* name, at::ScalarType dtype,
                 int64_t columns) {
  CheckTensor(matrix, name, dtype, {-1, columns});
  if (matrix.numel() == 0) {
    throw std::invalid_argument(std::string(name) + " is " + Describe(matrix) +
                                ", expected a matrix that is not empty");
  }
  if (matrix.is_cpu()) return;
  throw std::invalid_argument(std::string(name) + " is on " + matrix.device().str() +
                              ", expected a tensor on the CPU");
}

}  // namespace

void InitPackedProduct(py::module_& m) {
  py::class_<PackedProduct>(
      m, "PackedProduct",
      "The product of a frozen layer alone, as the worlds multiply on the CPU, on all threads: "
      "the rate that it reaches is the most that a step of such layers can reach.")
      .def(py::init([](const at::Tensor& weight, const std::string& dtype) {
             CheckMatrix(weight, "weight", at::kFloat, -1);
             return PackedProduct(weight, ProductTypeOf(dtype, at::kCPU));
           }),
           py::arg("weight"), py::arg("dtype"),
           "weight: float32 [outer, inner] on the CPU. dtype: of the inputs, \"float32\" or "
           "\"bfloat16\". Raises ValueError on another dtype, and on one that this processor "
           "cannot multiply.")
      .def(
          "__call__",
          [](const PackedProduct& self, const at::Tensor& x) {
            CheckMatrix(x, "x", self.dtype(), self.inner());
            const py::gil_scoped_release release;
            return self(x.contiguous());
          },
          py::arg("x"), "x: [rows, inner]. Returns x W^T, float32 [rows, outer].");
}

}  // namespace genie_env
