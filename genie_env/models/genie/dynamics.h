#pragma once

#include "genie_env/models/layers/st_transformer.h"

namespace genie_env {

/// The dynamics of Genie (Bruce et al. 2024): from the tokens of past frames and the latent
/// actions, the tokens of the next frame, by MaskGIT (Chang et al. 2022).
///
/// Two streams learn what is served. The clean stream holds every frame as it was and gives keys
/// and values, as a temporal cache does. In the masked stream, frame t has part of its tokens
/// hidden and sees, at each position, the clean frames t - window + 1 .. t - 1 and itself. Both go
/// through the same weights, as one clip of 2T - 1 frames whose TimeGrid says who sees whom.
class Dynamics : public Model {
 public:
  /// action_codes: float32 [A, C], finite: the codebook of the latent action model. It does not
  /// learn.
  Dynamics(DynamicsSizes sizes, const at::Tensor& action_codes, uint64_t seed = 0);

  const DynamicsSizes& sizes() const { return sizes_; }
  int64_t actions() const { return action_codes_.size(0); }

  /// What a masked token holds in place of a code.
  int64_t mask_token() const { return sizes_.codes; }

  /// tokens: int64 [N, T, S], N at least 1, T at least 2: the clean frames. masked: int64 [N, T -
  /// 1, S]: the frames from the second on, with mask_token() where a token is hidden. actions:
  /// int64 [N, T - 1]; action t leads from frame t to frame t + 1. Logits of the masked frames'
  /// tokens, hidden or not: float32 [N, T - 1, S, codes].
  at::Tensor Logits(const at::Tensor& tokens, const at::Tensor& masked,
                    const at::Tensor& actions) const;

  /// The mean cross-entropy in nats a token of each frame from the second on, all its tokens
  /// hidden: float32 [T - 1]. Arguments as for Logits.
  at::Tensor CrossEntropyByFrame(const at::Tensor& tokens, const at::Tensor& actions) const;

  /// batch: "tokens" int64 [N, T, S]; "actions" int64 [N, T - 1]; T at least 2, and best twice the
  /// window, so that full windows are learned from. The mean cross-entropy of the hidden tokens of
  /// frames from the second on. A frame hides each token with probability cos(pi / 2 * u), u
  /// uniform from 0 to (passes - 1) / passes: what the cosine schedule leaves hidden. In the clean
  /// stream, each token is replaced by a random one with a probability uniform in 0 .. 0.1, drawn
  /// for each clip: a dream's past has mistakes too. Terms: "cross_entropy", the same as the loss;
  /// "accuracy", the share of the hidden tokens that are the likeliest.
  Loss ComputeLoss(const TensorMap& batch, const NoiseKey& noise) override;

 private:
  void Check(const at::Tensor& tokens, const at::Tensor& actions) const;
  at::Tensor Predict(const at::Tensor& tokens, const at::Tensor& masked,
                     const at::Tensor& actions) const;
  TimeGrid TwoStreams(int64_t frames, at::Device device) const;

  DynamicsSizes sizes_;
  at::Tensor action_codes_, embedding_, positions_;
  std::shared_ptr<Affine> from_action_, to_logits_;
  std::shared_ptr<StTransformer> transformer_;
};

}  // namespace genie_env
