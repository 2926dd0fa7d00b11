#include "genie_env/core/error.h"

#include <c10/util/Exception.h>
#include <pybind11/pybind11.h>

#include <regex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <typeinfo>

#include "genie_env/core/text.h"
#include "genie_env/tensor/device.h"

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

// One sentence with the figures, of LibTorch's several: "... DefaultCPUAllocator: can't allocate
// memory: you tried to allocate 8000 bytes. Error code 12 ..." on a CPU, "CUDA out of memory. Tried
// to allocate 2.00 GiB. GPU 0 has ... of which 1.00 GiB is free. ..." on a GPU.
std::string OutOfMemoryText(const std::string& words) {
  static const std::regex kAsked("allocate ([0-9.]+) ([a-zA-Z]+)");
  static const std::regex kFree("of which ([0-9.]+ [a-zA-Z]+) is free");
  std::string text = "out of memory: ";
  std::smatch found;
  if (std::regex_search(words, found, kAsked)) {
    text +=
        found[2] == "bytes" ? BytesText(std::stod(found[1])) : found.str(1) + " " + found.str(2);
    text += " could not be allocated, ";
  }
  if (std::regex_search(words, found, kFree)) {
    text += found.str(1) + " are free on the GPU";
  } else if (const auto free = FreeMemory(at::kCPU)) {
    text += BytesText(static_cast<double>(*free)) +
            " are free in the system (this process may be limited to less)";
  }
  return text + "; ask for less at a time: fewer rows or frames, a smaller batch or network";
}

bool IsOutOfMemory(const c10::Error& error) {
  return dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr ||
         std::string_view(error.what_without_backtrace()).find("can't allocate memory") !=
             std::string_view::npos;
}

}  // namespace

// Other exceptions arrive as pybind11 translates them.
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
    } catch (const FormatError& error) {
      Raise(py::module_::import("genie_env._core").attr("FormatError"), error);
    } catch (const std::invalid_argument& error) {
      Raise(PyExc_ValueError, error);
    } catch (const std::system_error& error) {
      Raise(PyExc_RuntimeError, error);
    } catch (const std::runtime_error& error) {
      if (typeid(error) != typeid(std::runtime_error)) throw;
      Raise(PyExc_RuntimeError, error);
    } catch (const std::bad_alloc& error) {
      py::set_error(PyExc_MemoryError, OutOfMemoryText(error.what()).c_str());
    } catch (const c10::Error& error) {
      if (!IsOutOfMemory(error)) throw;
      const std::string text = OutOfMemoryText(error.what_without_backtrace());
      py::set_error(PyExc_MemoryError, text.c_str());
    }
  });
}

}  // namespace genie_env
