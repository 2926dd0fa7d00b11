#include "genie_env/io/safetensors.h"

#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "genie_env/tensor/stored_tensors.h"

namespace genie_env {
namespace py = pybind11;

void InitSafetensors(py::module_& m) {
  m.def(
      "safetensors_bytes",
      [](std::map<std::string, at::Tensor> tensors,
         const std::map<std::string, std::string>& metadata) {
        std::string bytes;
        {
          const py::gil_scoped_release released;
          std::map<std::string, TensorView> views;
          for (auto& [name, tensor] : tensors) {
            tensor = tensor.detach().cpu().contiguous();  // The view does not own it.
            views.emplace(name, ViewOf(tensor));
          }
          bytes = SafetensorsBytes(views, metadata);
        }
        return py::bytes(bytes);
      },
      py::arg("tensors"), py::arg("metadata") = std::map<std::string, std::string>{}, R"(
The bytes of a safetensors file; equal contents give equal bytes.

Tensors of any device and strides, of bool, uint8, int64, float16, bfloat16, float32 or float64.
Raises ValueError on other types, and on names that are not UTF-8.
)");
}

}  // namespace genie_env
