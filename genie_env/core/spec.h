#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace genie_env {

enum class DType { kUInt8, kInt64, kFloat32 };

/// One row's share of a batched tensor: a batch of N rows has shape [N, *shape].
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
  DType dtype = DType::kFloat32;
  double low = 0;   ///< smallest value; -infinity where unbounded
  double high = 0;  ///< largest value; +infinity where unbounded
};

/// `meanings.size()` discrete actions, numbered from 0; int64 in batches of shape [N].
struct ActionSpec {
  std::vector<std::string> meanings;  ///< for instance {"left", "stay", "right"}
  int64_t count() const { return static_cast<int64_t>(meanings.size()); }
};

}  // namespace genie_env
