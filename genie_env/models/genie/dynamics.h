#pragma once

#include "genie_env/models/layers/st_transformer.h"

namespace genie_env {

/// The dynamics of Genie (Bruce et al. 2024): they predict the tokens of the next frame from the
/// tokens of past frames and the latent actions, by MaskGIT (Chang et al. 2022).
///
/// Training has two streams, as sampling with a KV cache has. The clean stream has the tokens of
/// every frame and provides keys and values. In the masked stream, part of the tokens of frame t
/// are masked; each position attends to the clean frames t - window + 1 .. t - 1 and to itself.
/// Both streams pass through the same weights, as one clip of 2T - 1 frames whose TimeGrid says
/// which frame attends to which.
///
/// Where the blocks have columns, the transformer is given what is near, and need not learn to
/// attend to it: each token is embedded together with the one that was at its place in the frame
/// before, and each block begins with a convolution over neighbours (StBlock).
class Dynamics : public Model {
 public:
  /// action_codes: float32 [A, C], finite: the codebook of the latent action model. It is constant.
  /// token_codes: float32 [codes, D], finite: Tokenizer::Codebook(). The embeddings of tokens (of
  /// frames, and of the frame before) and the rows of the output layer are then initialised with
  /// random linear maps of them, so that codes that are near begin with similar weights. Undefined:
  /// with independent weights. Not stored.
  Dynamics(DynamicsSizes sizes, const at::Tensor& action_codes, uint64_t seed = 0,
           const at::Tensor& token_codes = {});

  const DynamicsSizes& sizes() const { return sizes_; }
  int64_t actions() const { return action_codes_.size(0); }

  /// The value of a masked token.
  int64_t mask_token() const { return sizes_.codes; }

  /// tokens: int64 [N, T, S], N at least 1, T at least 2: the clean frames. masked: int64 [N, T -
  /// 1, S]: the frames from the second on, with mask_token() where a token is masked. actions:
  /// int64 [N, T - 1]; action t leads from frame t to frame t + 1. Returns the logits of all tokens
  /// of the masked frames: float32 [N, T - 1, S, codes].
  at::Tensor Logits(const at::Tensor& tokens, const at::Tensor& masked,
                    const at::Tensor& actions) const;

  /// The mean cross-entropy in nats a token of each frame from the second on, with all its tokens
  /// masked: float32 [T - 1]. Arguments as for Logits.
  at::Tensor CrossEntropyByFrame(const at::Tensor& tokens, const at::Tensor& actions) const;

  /// batch: "tokens" int64 [N, T, S]; "actions" int64 [N, T - 1]; T at least 2, and best twice the
  /// window, so that full windows occur. Returns the mean cross-entropy of the masked tokens of
  /// frames from the second on. Each token of a frame is masked with probability cos(pi / 2 * u), u
  /// uniform from 0 to (passes - 1) / passes: the range of the cosine schedule. In the clean
  /// stream, each token is replaced by a random one with a probability uniform in 0 .. 0.1, drawn
  /// for each clip, because the history of a dream has errors too. "weights", float32 [N, T - 1,
  /// S], may say how much each token of the frames from the second on counts, 1 on average. Terms:
  /// "cross_entropy", without weights; "accuracy", the share of the masked tokens that are the
  /// likeliest.
  Loss ComputeLoss(const TensorMap& batch, TrainingNoise& noise) override;

 private:
  void InitialiseFrom(const at::Tensor& token_codes, LayerNumbers& layers);
  void Check(const at::Tensor& tokens, const at::Tensor& actions) const;
  at::Tensor Predict(const at::Tensor& tokens, const at::Tensor& masked,
                     const at::Tensor& actions) const;
  TimeGrid TwoStreams(int64_t frames, at::Device device) const;

  DynamicsSizes sizes_;
  at::Tensor action_codes_, embedding_, positions_;
  at::Tensor previous_;  // [codes, width]: of the frame before; or undefined
  std::shared_ptr<Affine> from_action_, to_logits_;
  std::shared_ptr<StTransformer> transformer_;
};

}  // namespace genie_env
