#pragma once

#include "genie_env/models/genie/clip.h"
#include "genie_env/models/layers/quantizer.h"
#include "genie_env/models/layers/st_transformer.h"

namespace genie_env {

/// The latent action model of Genie (Bruce et al. 2024): what happened between two frames, as one
/// of a few codes, learned from video alone. The encoder sees frames 1 .. t + 1 and names the code
/// of the transition from t to t + 1; the decoder sees frame t and the motion
///     m_t = action_decay m_{t - 1} + (1 - action_decay) code_t,
/// and predicts frame t + 1. Without action_decay a code is how things move. Where they have
/// inertia that is not the action, which pushes them: in Doom, velocity names 73 % of actions at
/// best where they are held for short, 90 % where they are held for long. With the game's own
/// action_decay the codes are the pushes. (Genie's decoder sees all frames and codes before. Where
/// actions are held, those tell nearly all of the action, and the code says something else.)
///
/// Both see frames whose every colour channel has mean 0 and standard deviation 1: a flash that
/// tints the whole screen would otherwise be the largest of all changes, and take the codes. The
/// decoder predicts the change of a frame, so it begins as one that copies it.
class LatentAction : public Model {
 public:
  explicit LatentAction(LatentActionSizes sizes = {}, uint64_t seed = 0);

  const LatentActionSizes& sizes() const { return sizes_; }

  /// How many frames back what a code says may depend on, the transition's last frame included.
  int64_t receptive_field() const { return sizes_.encoder_blocks * (sizes_.window - 1) + 2; }

  /// float32 [actions, code_dimensions]: the codebook, which is all that a frozen world keeps.
  at::Tensor Codes() const { return quantizer_->Directions(); }

  /// frames: uint8 [N, T, height, width, 3], T consecutive frames, at least 2. Codes of the
  /// transitions: int64 [N, T - 1].
  at::Tensor Encode(const at::Tensor& frames) const;

  /// frames: uint8 [N, T, height, width, 3]; actions: int64 [N, T], before which nothing moved.
  /// What follows each frame, in the colours of that frame: float32 of the frames' shape, about
  /// [-0.5, 0.5].
  at::Tensor Predict(const at::Tensor& frames, const at::Tensor& actions) const;

  /// batch: "frames" uint8 [N, T, height, width, 3], T at least 2. The mean over transitions of
  /// ln(mse + 1e-2), mse being the mean squared error of the predicted frame as it is seen here,
  /// plus the quantizer's loss. (The logarithm keeps explosions from taking the codes; below a
  /// hundredth of a frame's variance nothing is to be gained.) Transitions at a clip's beginning,
  /// at which more than a quarter of the motion began before it, do not count. Terms: "explained",
  /// the share of the change between frames that is predicted; and the quantizer's.
  Loss ComputeLoss(const TensorMap& batch, const NoiseKey& noise) override;

  /// Moves the latents' mean a tenth of its way to 0: codes are directions, and a mean, which the
  /// quantizer's loss would make grow, would make one direction of all. Restarts dead codes.
  void AfterUpdate(const NoiseKey& noise) override;

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
