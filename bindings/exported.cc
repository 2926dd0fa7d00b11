#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>
#include <torch/csrc/utils/pybind.h>

#include "genie_env/tensor/frozen_scope.h"
#include "genie_env/worlds/exported/compiled_folder.h"
#include "genie_env/worlds/exported/graph_runner.h"

namespace genie_env {
namespace py = pybind11;

void InitExported(py::module_& m) {
  m.def("compiled_folder", &CompiledFolder, py::arg("fingerprint"),
        "The folder for code that is compiled for the world of that fingerprint: it holds NAME.pt2 "
        "for every graph, and machine.txt, whose text is `compiling_machine()`.");
  m.def("compiling_machine", &CompilingMachine,
        "What compiled code depends on: the version of torch and the processor.");
  py::class_<GraphRunner>(m, "ExportedGraph",
                          "A graph of a model.pt2 that the world has been loaded from, run alone: "
                          "what a step of the model itself costs. Thread-safe.")
      .def(py::init<const std::filesystem::path&, const std::string&>(), py::arg("archive"),
           py::arg("name"), py::call_guard<py::gil_scoped_release>(),
           "name: \"initial\", \"step\", \"follow\" or \"render\". Raises FormatError naming the "
           "file.")
      .def(
          "run",
          [](const GraphRunner& self, const std::vector<at::Tensor>& inputs) {
            const py::gil_scoped_release released;
            const FrozenScope scope;
            return self.Run(inputs);
          },
          py::arg("inputs"),
          "The outputs for these inputs, both in the order of the graph: see "
          "genie_env/worlds/exported/world.h. An output may share memory with an input.");
}

}  // namespace genie_env
