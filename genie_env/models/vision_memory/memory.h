#pragma once

#include "genie_env/models/model.h"
#include "genie_env/models/vision_memory/sizes.h"

namespace genie_env {

/// M's prediction of the next frame.
struct Prediction {
  /// [..., 3, components, latents]: unnormalised log weights, means, log standard deviations.
  at::Tensor mixture;
  at::Tensor termination_logit;  ///< float32 [...]
};

/// M of World Models (Ha & Schmidhuber 2018, appendix A.2): an LSTM with a mixture density output
/// (Bishop 1994) and a termination logit. The LSTM has one bias, as in the paper; its gates are in
/// torch's order (input, forget, cell, output).
class Memory : public Model {
 public:
  /// The weight of a termination in the loss, relative to other steps (appendix A.2).
  static constexpr double kDeathWeight = 10;

  /// Sizes: from 1 to the limits of core/limits.h.
  explicit Memory(MemorySizes sizes = {}, uint64_t seed = 0);

  const MemorySizes& sizes() const { return sizes_; }

  /// input: float32 [N, T, latents + 2]; starts from a zero state. Hidden states: [N, T, hidden].
  at::Tensor Recur(const at::Tensor& input) const;

  /// hidden: [..., hidden].
  Prediction Predict(const at::Tensor& hidden) const;

  /// batch: windows of T frames from a stream of whole episodes, one after another.
  ///   "mu", "logvar"              float32 [N, T, latents]; z is sampled at every use
  ///   "actions"                   float32 [N, T], in [-1, 1]
  ///   "restarts", "terminations"  float32 [N, T]: 1 at an episode's first frame, and where the
  ///                               action ended the episode
  /// The negative log likelihood of the next z, per latent dimension, averaged over frames whose
  /// next one is of the same episode, plus the cross-entropy of the termination, deaths weighted,
  /// averaged over frames. In training, the termination logit reads half of the hidden units,
  /// chosen for every window (dropout; one mask a sequence as in Gal & Ghahramani 2016, section 4):
  /// terminations are rare and partly chance, and M would overfit to them. Terms: "nll",
  /// "termination"; and counts that can be summed over batches: "deaths" and "survivals", the
  /// frames with and without a termination, and "deaths_found" and "false_alarms", the frames of
  /// either kind with a logit above 0.
  Loss ComputeLoss(const TensorMap& batch, TrainingNoise& noise) override;

  /// The termination logits of the same windows ("terminations" is not read): float32 [N, T]. They
  /// are trained with kDeathWeight, so their probabilities are too high.
  at::Tensor TerminationLogits(const TensorMap& batch, TrainingNoise& noise) const;

 private:
  struct Reading {
    at::Tensor z;  ///< sampled
    Prediction prediction;
  };
  at::Tensor Mixture(const at::Tensor& hidden) const;
  at::Tensor TerminationLogit(const at::Tensor& hidden) const;
  Reading Read(const TensorMap& batch, TrainingNoise& noise, bool drop) const;

  MemorySizes sizes_;
  at::Tensor weight_ih_, weight_hh_, bias_;
  std::shared_ptr<Affine> output_;
};

}  // namespace genie_env
