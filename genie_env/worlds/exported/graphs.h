#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "genie_env/worlds/exported/archive.h"
#include "genie_env/worlds/exported/config.h"
#include "genie_env/worlds/exported/graph_runner.h"
#include "genie_env/worlds/world_directory.h"

namespace genie_env {

/// LibTorch's name of a type.
at::ScalarType TorchType(StoredType type);
at::ScalarType TorchType(DType type);

/// A graph of an exported model: what it takes and gives is what config.json says.
class LoadedGraph {
 public:
  /// signature: of the archive, as CheckArchive returned it.
  LoadedGraph(ExportedGraph signature, GraphRunner runner, at::Device device);

  /// Whether the graph uses its input of that place.
  bool reads(size_t input) const { return signature_.inputs[input].used; }

  /// The outputs for `rows` rows. Many are computed in parts, each within some 256 MB: LibTorch's
  /// runner frees what it has computed only at the end. Throws
  /// std::runtime_error where the graph fails, or gives a tensor of another shape or type than it
  /// declares. Thread-safe.
  std::vector<at::Tensor> Run(const std::vector<at::Tensor>& inputs, int64_t rows) const;

 private:
  std::vector<at::Tensor> RunPart(const std::vector<at::Tensor>& inputs, int64_t rows) const;
  std::vector<at::Tensor> Empty() const;

  ExportedGraph signature_;
  GraphRunner runner_;
  at::Device device_;
};

struct ExportedGraphs {
  LoadedGraph initial, step;
  std::optional<LoadedGraph> follow = std::nullopt, render = std::nullopt;
};

/// Checks the archive of a world directory, loads its graphs, and checks that they take and give
/// what config.json says; `device` is the one that it names. `compiled`: runs what was compiled of
/// them (compiled_folder.h), and throws std::invalid_argument where that is missing. Throws
/// FormatError naming the file, the graph and the tensor.
ExportedGraphs LoadGraphs(const WorldDirectory& directory, const ExportedConfig& config,
                          at::Device device, bool compiled);

}  // namespace genie_env
