#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include <filesystem>

#include "genie_env/io/file.h"
#include "genie_env/worlds/exported/archive.h"
#include "genie_env/worlds/exported/operators.h"

namespace genie_env {
namespace py = pybind11;
namespace {

using Tensors = std::vector<std::pair<std::string, std::vector<int64_t>>>;

Tensors NamedShapes(const std::vector<GraphTensor>& tensors) {
  Tensors named;
  for (const GraphTensor& tensor : tensors) named.emplace_back(tensor.name, tensor.shape);
  return named;
}

}  // namespace

void InitExportedArchive(py::module_& m) {
  m.def(
      "check_archive",
      [](const std::filesystem::path& file, const std::vector<std::string>& models, bool cuda) {
        std::map<std::string, std::pair<Tensors, Tensors>> graphs;
        {
          const py::gil_scoped_release released;
          const MappedFile mapped(file);
          for (const auto& [name, graph] :
               CheckArchive(mapped.bytes(), file.string(), models, cuda ? at::kCUDA : at::kCPU)) {
            graphs.emplace(name, std::pair(NamedShapes(graph.inputs), NamedShapes(graph.outputs)));
          }
        }
        return graphs;
      },
      py::arg("file"), py::arg("models"), py::arg("cuda") = false, R"(
The inputs and outputs of the graphs in the archive of an exported world, by the graphs' names.

Each is a name and a shape, whose first length is -1: the number of rows. Nothing is executed. Raises
FormatError naming the file, the graph and the node unless LibTorch may open the archive: it holds just
the graphs that `models` names, raw tensors, and nothing that would be unpickled or executed.
)");
  m.def(
      "why_not_served",
      [](const std::string& target) {
        return ServesOperator(target) ? std::string() : WhyNotServed(target);
      },
      py::arg("target"), R"(
Why a graph of an exported world may not use the operator "torch.ops.aten.NAME.OVERLOAD", and what to
do instead; "" where it may.
)");
}

}  // namespace genie_env
