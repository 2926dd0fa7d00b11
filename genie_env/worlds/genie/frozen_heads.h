#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

#include "genie_env/worlds/outcome_weights.h"

namespace genie_env {

/// The parameters of Heads (models/genie/heads.h).
struct HeadsWeights {
  int64_t actions = 0;
  std::optional<OutcomeWeights> outcome = std::nullopt;
  std::optional<OutcomeWeights> ending = std::nullopt;
};

/// float32 [N] each; undefined where it is not learned.
struct HeadsOutcome {
  at::Tensor reward;
  at::Tensor termination_logit;
};

/// Frozen heads. They compute in float32 whatever the type of the dynamics' products: they are a
/// thousandth of a step. Immutable and thread-safe.
class FrozenHeads {
 public:
  virtual ~FrozenHeads() = default;

  /// before, after: float32 [N, features], of the frame that an action (int64 [N]) was taken on and
  /// of the next; contiguous, on the heads' device.
  virtual HeadsOutcome Judge(const at::Tensor& before, const at::Tensor& actions,
                             const at::Tensor& after) const = 0;
};

/// On the CPU with packed weights. A row's bits depend on that row alone.
std::unique_ptr<const FrozenHeads> MakeHeadsCpu(const HeadsWeights& weights);

/// On any device through LibTorch's operators.
std::unique_ptr<const FrozenHeads> MakeHeadsTorch(const HeadsWeights& weights, at::Device device);

}  // namespace genie_env
