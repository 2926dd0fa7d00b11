#pragma once

#include "genie_env/models/layers/outcome_sizes.h"
#include "genie_env/models/layers/reward_bins.h"
#include "genie_env/models/model.h"

namespace genie_env {

/// The weight of a termination in a loss, relative to other steps: terminations are rare (Ha &
/// Schmidhuber 2018, appendix A.2).
inline constexpr double kTerminationWeight = 10;

/// What an action brought.
struct Judgement {
  at::Tensor reward_logits;      ///< [..., kRewardBins]; undefined where rewards are not learned
  at::Tensor termination_logit;  ///< [...]; undefined where terminations are not
};

/// A head that judges what an action brought from what there was before, the action, and the frame
/// that it led to: most games end by what that shows. Its outputs are the reward's bins, then the
/// termination.
class Outcome : public torch::nn::Module {
 public:
  /// inputs: how many numbers it reads; layer: the number of its first layer in the network.
  Outcome(OutcomeSizes sizes, int64_t inputs, uint64_t seed, uint32_t layer);

  static int64_t Outputs(OutcomeSizes sizes) {
    return (sizes.reward ? kRewardBins : 0) + (sizes.termination ? 1 : 0);
  }

  /// input: [..., inputs].
  Judgement Judge(const at::Tensor& input) const;

 private:
  OutcomeSizes sizes_;
  std::shared_ptr<Affine> units_, output_;
};

}  // namespace genie_env
