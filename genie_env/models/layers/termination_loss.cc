#include "genie_env/models/layers/termination_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/full.h>

#include "genie_env/models/layers/outcome.h"

namespace genie_env {

void AddTerminationLoss(const at::Tensor& logit, const at::Tensor& terminations,
                        const at::Tensor& counted, Loss& loss) {
  const at::Tensor termination = at::binary_cross_entropy_with_logits(
      logit, terminations, /*weight=*/counted / counted.mean().clamp_min(1e-12),
      /*pos_weight=*/at::full({}, kTerminationWeight, terminations.options()));
  loss.total = loss.total.defined() ? loss.total + termination : termination;
  const at::Tensor survivals = counted * (1 - terminations), deaths = counted * terminations;
  const at::Tensor alarms = (logit.detach() > 0).to(at::kFloat);
  loss.terms.insert({{"termination", termination.detach()},
                     {"deaths", deaths.sum()},
                     {"deaths_found", (alarms * deaths).sum()},
                     {"survivals", survivals.sum()},
                     {"false_alarms", (alarms * survivals).sum()}});
}

}  // namespace genie_env
