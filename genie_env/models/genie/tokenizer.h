#pragma once

#include "genie_env/models/genie/clip.h"
#include "genie_env/models/layers/quantizer.h"
#include "genie_env/models/layers/st_transformer.h"

namespace genie_env {

/// The video tokenizer of Genie (Bruce et al. 2024): a VQ-VAE over ST-transformer blocks. The
/// encoder is causal in time. The decoder reads the tokens of one frame, so any frame of a dream
/// can be decoded, or skipped, independently.
class Tokenizer : public Model {
 public:
  /// noise: the standard deviation of the Gaussian noise that the encoder sees in training on
  /// pixels of [-0.5, 0.5], 0 or more; the decoder learns to show the frames without it. Tokens
  /// then stand for what can be told apart in spite of it: without noise, a change by 1 / 255 that
  /// nobody sees gives other tokens, which no dynamics can predict. emphasis: how much more pixels
  /// count whose colour is rare at their place (models/emphasis.h), 0 or more. Throws
  /// std::invalid_argument for other sizes and weights.
  explicit Tokenizer(TokenizerSizes sizes = {}, uint64_t seed = 0, double noise = 0,
                     double emphasis = 0);

  const TokenizerSizes& sizes() const { return sizes_; }

  /// The number of frames that a token may depend on, its own included.
  int64_t receptive_field() const { return sizes_.encoder_blocks * (sizes_.window - 1) + 1; }

  /// What the tokens stand for: float32 [codes, code_dimensions], each of length 1.
  at::Tensor Codebook() const { return quantizer_->Directions(); }

  /// frames: uint8 [N, T, height, width, 3], T consecutive frames. Tokens: int64 [N, T, S].
  at::Tensor Encode(const at::Tensor& frames) const;

  /// tokens: int64 [N, T, S]. Pixels: float32 [N, T, height, width, 3], about [-0.5, 0.5].
  at::Tensor Decode(const at::Tensor& tokens) const;

  /// batch: "frames" uint8 [N, T, height, width, 3]. Returns the mean over frames of ln(mse +
  /// 1e-4), mse being a frame's mean squared error with pixels in [0, 1], times the emphasis, plus
  /// the quantizer's loss. The logarithm makes it the reported PSNR up to a factor; it is the
  /// likelihood under the noise that fits each frame best (Rybkin et al. 2021). A small bright
  /// thing that is missing then counts in frames that are right otherwise, and frames full of
  /// explosions do not outweigh all others. The constant limits the gain beyond 40 dB. Terms:
  /// "psnr" in dB without emphasis, averaged over frames; and the quantizer's. In evaluation the
  /// encoder sees no noise.
  Loss ComputeLoss(const TensorMap& batch, TrainingNoise& noise) override;

  void AfterUpdate(TrainingNoise& noise) override;

 private:
  at::Tensor Latents(const at::Tensor& patches) const;
  at::Tensor Patches(const at::Tensor& latents) const;

  TokenizerSizes sizes_;
  double noise_, emphasis_;
  at::Tensor encoder_positions_, decoder_positions_;
  std::shared_ptr<Affine> embed_, to_code_, from_code_, to_pixels_;
  std::shared_ptr<StTransformer> encoder_, decoder_;
  std::shared_ptr<Quantizer> quantizer_;
};

/// Throws std::invalid_argument unless `tokens` is int64 [N, T, positions] within 0 .. codes - 1.
void CheckTokens(const at::Tensor& tokens, int64_t positions, int64_t codes);

}  // namespace genie_env
