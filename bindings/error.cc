#include "genie_env/core/error.h"

#include <pybind11/pybind11.h>

namespace genie_env {
namespace py = pybind11;

namespace {

/// Raises gymnasium.error.<name>: what wrappers and training code of others expect.
void RaiseGymnasium(const char* name, const std::exception& error) {
  py::set_error(py::module_::import("gymnasium.error").attr(name), error.what());
}

}  // namespace

// std::invalid_argument and std::runtime_error arrive as ValueError and RuntimeError by themselves.
void InitError(py::module_& m) {
  py::register_exception<FormatError>(m, "FormatError", PyExc_ValueError).doc() =
      "A file or directory that is not what its format promises. The text names the file and the "
      "field.";
  py::register_exception<Busy>(m, "Busy", PyExc_RuntimeError).doc() =
      "A call beside one of another thread, of an environment, trainer, network, state or writer. "
      "The text names both calls; nothing was done.";
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (const InvalidAction& error) {
      RaiseGymnasium("InvalidAction", error);
    } catch (const ResetNeeded& error) {
      RaiseGymnasium("ResetNeeded", error);
    }
  });
}

}  // namespace genie_env
