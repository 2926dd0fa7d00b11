#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace genie_env {

/// A graph of a torch.export archive. Immutable, and safe to share between threads.
class GraphRunner {
 public:
  /// Loads the graph `name` and its weights, to be run by LibTorch's interpreter. The archive must
  /// have passed CheckArchive. Throws FormatError naming the file where LibTorch refuses it.
  GraphRunner(const std::filesystem::path& archive, const std::string& name);

  /// Loads a graph that AOTInductor compiled: `package` holds machine code, which is run. It must
  /// lie in a folder that has passed CheckCompiled (compiled_folder.h). Threads take turns. Throws
  /// FormatError naming the file.
  static GraphRunner Compiled(const std::filesystem::path& package, const std::string& name);

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
  explicit GraphRunner(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace genie_env
