#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "genie_env/worlds/world.h"

namespace genie_env {

/// What a step is about to overwrite of a state, so that it can be taken back: the fields and slots
/// that the world names, and whole rows that begin another episode in the same step.
class StepRollback {
 public:
  /// Copies these parts. beginning: int64 [R], on the CPU, the rows that will begin; R may be 0.
  StepRollback(const World& world, const WorldState& state, const at::Tensor& beginning);

  /// Writes them back, in place.
  void Restore(WorldState& state) const;

  /// What the copies take.
  int64_t bytes() const;

 private:
  std::vector<OverwrittenField> fields_;
  std::vector<at::Tensor> saved_;  ///< one a field: whole, or its slots
  at::Tensor beginning_;
  std::vector<at::Tensor> rows_;  ///< one a field of the state, of the rows that begin
};

}  // namespace genie_env
