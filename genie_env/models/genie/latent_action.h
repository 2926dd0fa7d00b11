#pragma once

#include "genie_env/models/genie/clip.h"
#include "genie_env/models/layers/quantizer.h"
#include "genie_env/models/layers/st_transformer.h"

namespace genie_env {

/// The latent action model of Genie (Bruce et al. 2024): it describes the transition between two
/// frames by one of a few codes, learned from video alone. The encoder reads frames 1 .. t + 1 and
/// outputs the code of the transition from t to t + 1. The decoder reads frame t and the motion
///     m_t = action_decay m_{t - 1} + (1 - action_decay) code_t,
/// and predicts frame t + 1. Without action_decay, a code stands for a velocity. Where things have
/// inertia, the action is a force instead: in Doom, the velocity determines at most 73 % of actions
/// that are held briefly, and 90 % of those that are held long. With the game's action_decay, the
/// codes stand for forces. (Genie's decoder reads all earlier frames and codes. Where actions are
/// held, these determine nearly all of the action, and the code stands for something else.)
///
/// Encoder and decoder read frames whose colour channels each have mean 0 and standard deviation 1:
/// a flash that tints the whole screen would otherwise be the largest change and take the codes.
/// The decoder predicts the change of a frame, and it starts near a change of 0.
class LatentAction : public Model {
 public:
  /// Added to the variance when frames are standardised, with pixels in [-0.5, 0.5]: slightly more
  /// than the variance of rounding a frame without contrast to 256 levels.
  static constexpr double kVarianceFloor = 1e-5;

  explicit LatentAction(LatentActionSizes sizes = {}, uint64_t seed = 0);

  const LatentActionSizes& sizes() const { return sizes_; }

  /// The number of frames that a code may depend on, the transition's last frame included.
  int64_t receptive_field() const { return sizes_.encoder_blocks * (sizes_.window - 1) + 2; }

  /// float32 [actions, code_dimensions]: the codebook, the only part that a frozen world keeps.
  at::Tensor Codes() const { return quantizer_->Directions(); }

  /// frames: uint8 [N, T, height, width, 3], T consecutive frames, at least 2. Codes of the
  /// transitions: int64 [N, T - 1].
  at::Tensor Encode(const at::Tensor& frames) const;

  /// frames: uint8 [N, T, height, width, 3]; actions: int64 [N, T]; the motion before them is 0.
  /// Predicts the next frame of each frame, with the colour statistics of that frame: float32 of
  /// the frames' shape, about [-0.5, 0.5].
  at::Tensor Predict(const at::Tensor& frames, const at::Tensor& actions) const;

  /// batch: "frames" uint8 [N, T, height, width, 3], T at least 2. Returns the mean over
  /// transitions of ln(mse + 1e-2), mse being the mean squared error of the predicted standardised
  /// frame, plus the quantizer's loss. (The logarithm keeps explosions from taking the codes; the
  /// constant limits the gain below a hundredth of a frame's variance.) Transitions at a clip's
  /// beginning with more than a quarter of the motion from before the clip do not count. Terms:
  /// "explained", the share of the change between frames that is predicted; and the quantizer's.
  Loss ComputeLoss(const TensorMap& batch, TrainingNoise& noise) override;

  /// Moves the latents' mean a tenth of the way to 0, and restarts dead codes. Codes are
  /// directions; the quantizer's loss makes the mean grow, and a large mean makes all directions
  /// alike.
  void AfterUpdate(TrainingNoise& noise) override;

 private:
  at::Tensor Latents(const at::Tensor& patches) const;
  at::Tensor Motion(const at::Tensor& latents) const;
  at::Tensor Next(const at::Tensor& patches, const at::Tensor& latents) const;

  LatentActionSizes sizes_;
  at::Tensor encoder_positions_, decoder_positions_;
  std::shared_ptr<Affine> encoder_embed_, decoder_embed_, to_code_, from_code_, to_pixels_;
  std::shared_ptr<StTransformer> encoder_, decoder_;
  std::shared_ptr<Quantizer> quantizer_;
  at::Tensor mean_;  // float32 [code_dimensions]: of the last batch's latents
};

}  // namespace genie_env
