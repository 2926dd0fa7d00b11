#pragma once

#include "genie_env/models/model.h"

namespace genie_env {

/// Adds to `loss` the cross-entropy of terminations, which weigh kTerminationWeight, averaged over
/// the steps that count, as its term "termination"; and counts that can be summed over batches:
/// "deaths" and "survivals", the steps with and without a termination, and "deaths_found" and
/// "false_alarms", those of either kind with a logit above 0. logit, terminations (0 or 1), counted
/// (0 or 1): float32 of one shape.
void AddTerminationLoss(const at::Tensor& logit, const at::Tensor& terminations,
                        const at::Tensor& counted, Loss& loss);

}  // namespace genie_env
