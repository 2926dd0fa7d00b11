#include "genie_env/env/snapshot.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl/filesystem.h>

#include <cstddef>
#include <memory>
#include <string_view>

#include "bindings/return_memory.h"
#include "genie_env/env/snapshot_parts.h"

namespace genie_env {
namespace py = pybind11;
using Released = py::call_guard<py::gil_scoped_release>;

namespace {

/// The end of a snapshot in Python. From this size on, its memory is worth the time to return it.
struct DeleteSnapshot {
  static constexpr size_t kLarge = size_t{16} << 20;

  void operator()(const Snapshot* snapshot) const {
    size_t bytes = 0;
    for (const auto& field : snapshot->parts().state.fields()) bytes += field.tensor.nbytes();
    delete snapshot;
    if (bytes >= kLarge) ReturnMemory();
  }
};

}  // namespace

void InitSnapshot(py::module_& m) {
  py::class_<Snapshot, std::unique_ptr<Snapshot, DeleteSnapshot>>(
      m, "Snapshot",
      "Rows of an environment at one moment: an immutable value, that can be "
      "saved and pickled.\n\n"
      "    snapshot = env.snapshot()\n"
      "    snapshot.save(\"dream.safetensors\")\n"
      "    env.restore(genie_env.Snapshot.load(\"dream.safetensors\"))")
      .def_property_readonly("rows", &Snapshot::rows)
      .def_property_readonly("world", &Snapshot::world,
                             "The name of the world that it was taken in.")
      .def_property_readonly("fingerprint", &Snapshot::fingerprint,
                             "That world's: only there can it be restored.")
      .def("save", &Snapshot::Save, py::arg("path"), Released(), "Writes a safetensors file.")
      .def_static("load", &Snapshot::Load, py::arg("path"), Released(),
                  "Raises FormatError naming the file and the tensor.")
      .def("__repr__",
           [](const Snapshot& snapshot) {
             return "Snapshot(" + std::to_string(snapshot.rows()) + " rows of '" +
                    snapshot.world() + "')";
           })
      .def(py::pickle([](const Snapshot& snapshot) { return py::bytes(snapshot.ToBytes()); },
                      [](const py::bytes& pickled) {
                        const std::string_view bytes = pickled;
                        return Snapshot::FromBytes(std::as_bytes(std::span(bytes)),
                                                   "the pickled snapshot");
                      }));
}

}  // namespace genie_env
