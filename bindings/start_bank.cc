#include "genie_env/env/start_bank.h"

#include <pybind11/pybind11.h>
#include <torch/csrc/utils/pybind.h>

#include <memory>

#include "bindings/check_signals.h"

namespace genie_env {
namespace py = pybind11;

void InitStartBank(py::module_& m) {
  py::class_<StartBank, std::shared_ptr<StartBank>>(
      m, "StartBank",
      "States of one world that episodes may begin from, each at the end of a recorded context. "
      "Immutable; environments share it.")
      .def_static(
          "encode",
          [](std::shared_ptr<World> world, const at::Tensor& frames, const at::Tensor& actions) {
            return std::const_pointer_cast<StartBank>(
                StartBank::Encode(std::move(world), frames, actions, CheckSignals));
          },
          py::arg("world"), py::arg("frames"), py::arg("actions"),
          py::call_guard<py::gil_scoped_release>(),
          "Follows K contexts: frames uint8 [K, T + 1, H, W, 3], actions int64 or float32 "
          "[K, T, ...].")
      .def_property_readonly("size", &StartBank::size, "K.")
      .def_property_readonly("hash", &StartBank::hash, "Identifies the contexts and the world.")
      .def("__repr__", [](const StartBank& bank) {
        return "StartBank(" + std::to_string(bank.size()) + " starts, " +
               bank.hash().substr(0, 12) + ")";
      });
}

}  // namespace genie_env
