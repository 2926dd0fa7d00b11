#pragma once

#include <optional>

#include "genie_env/models/layers/reward_bins.h"
#include "genie_env/models/model.h"
#include "genie_env/models/vision_memory/sizes.h"

namespace genie_env {

/// What an action brought, as it is judged with the frame that it led to.
struct Judgement {
  at::Tensor reward_logits;      ///< [..., kRewardBins]; undefined where rewards are not learned
  at::Tensor termination_logit;  ///< [...], to be added to M's; undefined where M's is all
};

/// The head of M (OutcomeSizes). M's own termination logit knows the frame and the action; most
/// games end by what the next frame shows. Its outputs are the reward's bins, then the termination.
class Outcome : public torch::nn::Module {
 public:
  /// layer: the number of its first layer in the network.
  Outcome(OutcomeSizes sizes, int64_t hidden, int64_t latents, uint64_t seed, uint32_t layer);

  static int64_t Outputs(OutcomeSizes sizes) {
    return (sizes.reward ? kRewardBins : 0) + (sizes.termination ? 1 : 0);
  }

  /// hidden: [..., hidden], after the action; next: [..., latents].
  Judgement Judge(const at::Tensor& hidden, const at::Tensor& next) const;

 private:
  OutcomeSizes sizes_;
  std::shared_ptr<Affine> units_, output_;
};

}  // namespace genie_env
