#pragma once

#include <pybind11/pybind11.h>

namespace genie_env {

/// Runs Python's signal handlers, Ctrl-C among them, and throws what they raise. For long calls
/// that have released the GIL.
inline void CheckSignals() {
  const pybind11::gil_scoped_acquire python;
  if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
}

}  // namespace genie_env
