#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "genie_env/worlds/genie/mask_schedule.h"

namespace genie_env {
namespace py = pybind11;

void InitMaskGit(py::module_& m) {
  m.def(
      "mask_schedule", &MaskSchedule, py::arg("positions"), py::arg("passes"),
      "How many of `positions` tokens are still masked after each of `passes` passes of MaskGIT:\n"
      "its cosine schedule.");
}

}  // namespace genie_env
