#pragma once

#include <ATen/core/TensorBody.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace genie_env {

/// A tensor that a graph takes or gives.
struct GraphTensor {
  std::string name;
  at::ScalarType dtype;
  std::vector<int64_t> shape;  ///< the first length is -1: the number of rows
  bool used = true;            ///< of an input: whether the graph reads it
};

/// The tensors that a graph takes and gives, in order, as its metadata says.
struct ExportedGraph {
  std::vector<GraphTensor> inputs, outputs;
  int64_t bytes_per_row = 0;  ///< of all tensors within, as far as they grow with the rows
};

/// Checks the archive of an exported world, model.pt2, so that LibTorch may open it: `bytes` are
/// those of the file, `file` is its name in errors, and it must hold just the graphs that `models`
/// names, for a device of `device`'s type. Returns the graphs by name.
///
/// Throws FormatError naming the file, the graph and the node, unless
/// - it is a zip archive (io/zip_archive.h) of raw tensors, graphs and their configurations alone:
///   nothing that would be unpickled or executed;
/// - every weight has just the bytes that its shape needs, and the graphs agree;
/// - every graph takes and gives tensors whose first dimension is the row, the same everywhere, and
///   changes none of them;
/// - every node computes with an operator that exported worlds may use (operators.h), with
///   arguments that the operator takes, from values that nodes before it gave;
/// - on the CPU, the metadata of every result names the device "meta". LibTorch's runner has fast
///   kernels of its own for results "on the CPU", and some read out of bounds where a tensor's
///   strides are 0 (torch 2.11: aten.mul of an expanded tensor and a number). Results that are said
///   to be elsewhere are computed by torch's own operators, to eager mode's bits.
///
/// `between_pieces` is as in ZipArchive. Thread-safe.
std::map<std::string, ExportedGraph> CheckArchive(
    std::span<const std::byte> bytes, const std::string& file, std::span<const std::string> models,
    at::DeviceType device = at::kCPU, const std::function<void()>& between_pieces = nullptr);

}  // namespace genie_env
