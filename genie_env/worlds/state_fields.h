#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "genie_env/worlds/world_state.h"

namespace genie_env {

/// One tensor of a state.
struct StateField {
  std::string name;
  at::ScalarType dtype;
  std::vector<int64_t> shape;  ///< of one row
};

/// Throws std::invalid_argument unless `state` has these tensors, contiguous, on `device`. The
/// kernels read and write raw memory: whatever a caller has done to the tensors of its state
/// (Python can reshape them in place) must show here.
void CheckStateFields(const WorldState& state, const std::vector<StateField>& expected,
                      at::Device device);

/// A state of such tensors, all zero. Throws std::invalid_argument, with the figures, where the
/// device has less memory free than it takes.
WorldState ZeroState(int64_t rows, const std::vector<StateField>& fields, at::Device device);

/// Bytes of one row of it.
int64_t BytesOfRow(const std::vector<StateField>& fields);

}  // namespace genie_env
