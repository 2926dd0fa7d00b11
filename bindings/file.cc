#include "genie_env/io/file.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl/filesystem.h>

#include <memory>
#include <stdexcept>
#include <system_error>

namespace genie_env {
namespace {

namespace py = pybind11;

/// An AtomicFile whose failures are OSErrors, and that may be closed before it is destroyed.
class PythonAtomicFile {
 public:
  explicit PythonAtomicFile(const std::filesystem::path& file) : path_(file) {
    Run([&] { file_ = std::make_unique<AtomicFile>(file); });
    temporary_ = file_->temporary();
  }

  const std::filesystem::path& temporary() const { return temporary_; }

  void Publish() {
    if (file_ == nullptr) {
      throw std::invalid_argument(path_.string() +
                                  " was published or given up already; make a new AtomicFile");
    }
    // It is given up where this fails.
    const std::unique_ptr<AtomicFile> file = std::move(file_);
    Run([&] { file->Publish(); });
  }

  void GiveUp() { file_.reset(); }

 private:
  template <typename Action>
  void Run(const Action& action) const {
    try {
      const py::gil_scoped_release released;
      action();
    } catch (const std::system_error& error) {
      py::set_error(PyExc_OSError,
                    py::make_tuple(error.code().value(), error.code().message(), py::cast(path_)));
      throw py::error_already_set();
    }
  }

  std::filesystem::path path_, temporary_;
  std::unique_ptr<AtomicFile> file_;  // null once it was published or given up
};

}  // namespace

void InitFile(py::module_& m) {
  py::class_<PythonAtomicFile>(m, "AtomicFile", R"(
A file that readers see whole or not at all: it is written under a temporary name in the same
directory, then renamed. No other writer, in this process or another, has that name.

    with AtomicFile("figures.json") as temporary:
        temporary.write_text(text)

The end of the block publishes the file; where the block raises, nothing new is left behind.
)")
      .def(py::init<const std::filesystem::path&>(), py::arg("file"), R"(
Creates the temporary file, empty. The directory must exist. Raises OSError.
)")
      .def_property_readonly("temporary", &PythonAtomicFile::temporary, "Where to write the file.")
      .def("publish", &PythonAtomicFile::Publish, R"(
Waits until the file is on the disk (fsync), and gives it its name, in place of an older file.

Raises OSError where that fails: an older file is then as it was, and the temporary file removed.
)")
      .def("__enter__", &PythonAtomicFile::temporary)
      .def("__exit__", [](PythonAtomicFile& self, const py::object& type, const py::args&) {
        type.is_none() ? self.Publish() : self.GiveUp();
      });
}

}  // namespace genie_env
