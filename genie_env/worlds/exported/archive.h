#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace genie_env {

struct GraphTensor {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;  ///< -1 is the row dimension
  bool used = true;            ///< whether a node of the graph reads it
};
struct GraphSignature {
  std::vector<GraphTensor> inputs, outputs;
};
std::map<std::string, GraphSignature> CheckArchive(std::span<const std::byte> bytes,
                                                   const std::string& file,
                                                   std::span<const std::string> models,
                                                   const std::string& device);

}  // namespace genie_env
