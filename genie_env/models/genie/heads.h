#pragma once

#include <optional>

#include "genie_env/models/genie/sizes.h"
#include "genie_env/models/layers/outcome.h"
#include "genie_env/models/model.h"

namespace genie_env {

/// What actions bring in a world of Genie: reward and termination, judged by heads on the features
/// of its frozen dynamics (worlds/genie/frozen_genie.h), which were learned without either.
///
/// One head reads the features of a frame, the latent action (one-hot: the first layer's columns
/// are its embedding) and the features of the frame that it led to. Terminations whose next frame
/// is not recorded are judged by a head of their own, from the frame and the action.
class Heads : public Model {
 public:
  /// rewards: their range; given where sizes.reward says that they are learned. Throws
  /// std::invalid_argument where it is not, or where there is nothing to learn.
  explicit Heads(HeadsSizes sizes, std::optional<RewardRange> rewards = std::nullopt,
                 uint64_t seed = 0);

  const HeadsSizes& sizes() const { return sizes_; }

  /// What the heads say of N steps.
  struct Judged {
    at::Tensor rewards;             ///< float32 [N], expected; undefined where they are not learned
    at::Tensor termination_logits;  ///< float32 [N], trained with kTerminationWeight: too high; or
                                    ///< undefined
  };

  /// before, after: float32 [N, features], of the frame that the action (int64 [N]) was taken on
  /// and of the next.
  Judged Judge(const at::Tensor& before, const at::Tensor& actions, const at::Tensor& after) const;

  /// batch: N steps.
  ///   "before", "after"          float32 [N, features]
  ///   "actions"                  int64 [N]
  ///   "followed"                 float32 [N]: 1 where "after" is known
  ///   "rewards", "terminations"  float32 [N]
  /// The sum of
  ///   "termination", the cross-entropy of the termination, those that are 1 weighted, averaged
  ///   over
  ///     all steps, or over those with a next frame where that is needed to judge;
  ///   "reward", RewardCrossEntropy averaged over steps with a next frame.
  /// Further terms are counts as Memory::ComputeLoss has them.
  Loss ComputeLoss(const TensorMap& batch, TrainingNoise& noise) override;

 private:
  void Check(const at::Tensor& before, const at::Tensor& actions, const at::Tensor& after) const;
  Judgement JudgeInputs(const at::Tensor& before, const at::Tensor& actions,
                        const at::Tensor& after) const;

  HeadsSizes sizes_;
  at::Tensor reward_bins_;            ///< undefined where rewards are not learned
  std::shared_ptr<Outcome> outcome_;  ///< reads the next frame too; null where nothing needs it
  std::shared_ptr<Outcome> ending_;   ///< of terminations without one; null where they have one
};

}  // namespace genie_env
