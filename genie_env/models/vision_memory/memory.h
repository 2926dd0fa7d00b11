#pragma once

#include <optional>

#include "genie_env/models/layers/outcome.h"
#include "genie_env/models/model.h"
#include "genie_env/models/vision_memory/sizes.h"

namespace genie_env {

/// M of World Models (Ha & Schmidhuber 2018, appendix A.2): an LSTM with a mixture density output
/// (Bishop 1994; sizes().mixture says of which kind) and a termination logit. The LSTM has one
/// bias, as in the paper; its gates are in torch's order (input, forget, cell, output).
class Memory : public Model {
 public:
  /// Sizes: from 1 to the limits of core/limits.h. rewards: their range, where M learns them.
  /// judges_termination: whether a termination depends on the frame after it too.
  explicit Memory(MemorySizes sizes = {}, uint64_t seed = 0,
                  std::optional<RewardRange> rewards = std::nullopt,
                  bool judges_termination = false);

  const MemorySizes& sizes() const { return sizes_; }

  /// What the reward logits stand for (RewardBins); undefined where rewards are not learned.
  const at::Tensor& reward_bins() const { return reward_bins_; }

  /// input: float32 [N, T, sizes().input()]; starts from a zero state. Hidden states: [N, T,
  /// hidden].
  at::Tensor Recur(const at::Tensor& input) const;

  /// batch: windows of T frames from a stream of whole episodes, one after another; where an
  /// episode's final frame was recorded, it follows the last frame that an action was taken on.
  ///   "mu", "logvar"              float32 [N, T, latents]; z is sampled at every use
  ///   "actions"                   float32 [N, T, actions], in [-1, 1]; of a final frame anything
  ///   "rewards"                   float32 [N, T]; read where M learns them
  ///   "restarts", "terminations", "finals"
  ///                               float32 [N, T]: 1 at an episode's first frame, where the action
  ///                               ended the episode, and at a final frame
  /// The sum of
  ///   "nll", the negative log likelihood of the next z, divided by latents, averaged over frames
  ///     whose next one is of the same episode;
  ///   "termination", the cross-entropy of the termination, deaths weighted, averaged over frames
  ///     with an action, and, where the next frame is needed to judge, with a next one;
  ///   "reward", RewardCrossEntropy averaged over frames with a next one.
  /// In training, rewards and terminations are read from half of the hidden units, chosen for every
  /// window (dropout; one mask a sequence as in Gal & Ghahramani 2016, section 4): they are rare
  /// and partly chance, and M would learn those of its recordings by heart. Further terms are
  /// counts that can be summed over batches: "deaths" and "survivals", the frames with and without
  /// a termination, and "deaths_found" and "false_alarms", the frames of either kind with a logit
  /// above 0.
  Loss ComputeLoss(const TensorMap& batch, TrainingNoise& noise) override;

  /// What M says of the frames of windows, without dropout.
  struct Outcomes {
    at::Tensor termination_logits;  ///< float32 [N, T]; trained with kTerminationWeight: too high
    at::Tensor judged;    ///< bool [N, T]: where these are valid (see "termination" above)
    at::Tensor rewards;   ///< float32 [N, T], expected; undefined where M does not learn them
    at::Tensor followed;  ///< bool [N, T]: where these are valid
  };
  /// ("rewards" and "terminations" are not read.)
  Outcomes JudgeWindows(const TensorMap& batch, TrainingNoise& noise) const;

 private:
  struct Reading {
    at::Tensor z;                ///< sampled, float32 [N, T, latents]
    at::Tensor hidden;           ///< [N, T, hidden]
    at::Tensor read;             ///< [N, 1, hidden]: what they are multiplied by to judge outcomes
    at::Tensor acted, followed;  ///< float32 [N, T]: 1 with an action, with a next frame
  };
  /// hidden: [..., hidden]. What MixtureNegativeLogLikelihood takes, [..., sizes().output() - 1].
  at::Tensor Mixture(const at::Tensor& hidden) const;
  at::Tensor TerminationLogit(const at::Tensor& hidden) const;
  Reading Read(const TensorMap& batch, TrainingNoise& noise, bool drop) const;
  /// The termination logit of all frames, and the reward logits of all but the last.
  Judgement JudgeRead(const Reading& reading) const;

  MemorySizes sizes_;
  bool judges_termination_;
  at::Tensor weight_ih_, weight_hh_, bias_;
  at::Tensor reward_bins_;  ///< undefined where rewards are not learned
  std::shared_ptr<Affine> output_;
  /// Of (h after the action, the next z); its termination logit is added to M's own, which knows
  /// the frame and the action. Null where M learns neither.
  std::shared_ptr<Outcome> outcome_;
};

}  // namespace genie_env
