#pragma once

#include <cstdint>
#include <optional>
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

/// The numbers that an action in a box consists of, and their bounds, in row-major order.
struct ActionBox {
  std::vector<int64_t> shape;
  std::vector<float> low, high;  ///< finite, low below high

  int64_t numel() const { return static_cast<int64_t>(low.size()); }
};

/// What a world's actions are (Gymnasium's Discrete and Box): count() numbered ones, from `start`
/// on, int64 in batches of shape [N]; or points of a box, float32 [N, *box->shape].
struct ActionSpec {
  std::vector<std::string> meanings = {};  ///< {"left", "stay", "right"}; of a box: none
  int64_t start = 0;
  std::optional<ActionBox> box = std::nullopt;

  int64_t count() const { return static_cast<int64_t>(meanings.size()); }
};

}  // namespace genie_env
