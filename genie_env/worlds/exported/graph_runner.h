#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace genie_env {

/// A graph of a torch.export archive, run by LibTorch's interpreter. Immutable, and safe to share
/// between threads. The archive must have passed CheckArchive.
class GraphRunner {
 public:
  /// Loads the graph `name` and its weights. Throws FormatError naming the file where LibTorch
  /// refuses it.
  GraphRunner(const std::filesystem::path& archive, const std::string& name);
  ~GraphRunner();
  GraphRunner(GraphRunner&&) noexcept;
  GraphRunner& operator=(GraphRunner&&) noexcept;

  /// Which graph of which file, for errors.
  const std::string& place() const;

  /// The outputs for these inputs, in the graph's order. An output may share memory with an input,
  /// with another output or with a weight. Throws std::runtime_error with LibTorch's reason.
  std::vector<at::Tensor> Run(const std::vector<at::Tensor>& inputs) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace genie_env
