#include "genie_env/core/error.h"

#include <pybind11/pybind11.h>

namespace genie_env {
namespace py = pybind11;

// std::invalid_argument and std::runtime_error arrive as ValueError and RuntimeError by themselves.
void InitError(py::module_& m) {
  py::register_exception<FormatError>(m, "FormatError", PyExc_ValueError).doc() =
      "A file or directory that is not what its format promises. The text names the file and the "
      "field.";
}

}  // namespace genie_env
