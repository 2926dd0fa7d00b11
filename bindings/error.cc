#include "genie_env/core/error.h"

#include <pybind11/pybind11.h>

#include <filesystem>
#include <stdexcept>
#include <string_view>
#include <typeinfo>

namespace genie_env {
namespace py = pybind11;

namespace {

/// Raises `type` with the text, in which bytes that are no UTF-8, as of some paths, are backslash
/// escapes.
void Raise(const py::handle& type, const std::exception& error) {
  const std::string_view text = error.what();
  const auto length = static_cast<py::ssize_t>(text.size());
  py::set_error(type, py::reinterpret_steal<py::object>(
                          PyUnicode_DecodeUTF8(text.data(), length, "backslashreplace")));
}

/// Raises gymnasium.error.<name>: what wrappers and training code of others expect.
void RaiseGymnasium(const char* name, const std::exception& error) {
  Raise(py::module_::import("gymnasium.error").attr(name), error);
}

}  // namespace

// Other exceptions arrive as pybind11 translates them.
void InitError(py::module_& m) {
  py::register_exception<FormatError>(m, "FormatError", PyExc_ValueError).doc() =
      "A file or directory that is not what its format promises. The text names the file and the "
      "field.";
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (const InvalidAction& error) {
      RaiseGymnasium("InvalidAction", error);
    } catch (const ResetNeeded& error) {
      RaiseGymnasium("ResetNeeded", error);
    } catch (const FormatError& error) {
      Raise(py::module_::import("genie_env._core").attr("FormatError"), error);
    } catch (const std::invalid_argument& error) {
      Raise(PyExc_ValueError, error);
    } catch (const std::filesystem::filesystem_error& error) {
      Raise(PyExc_RuntimeError, error);
    } catch (const std::runtime_error& error) {
      if (typeid(error) != typeid(std::runtime_error)) throw;
      Raise(PyExc_RuntimeError, error);
    }
  });
}

}  // namespace genie_env
