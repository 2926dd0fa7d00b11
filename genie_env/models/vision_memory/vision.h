#pragma once

#include "genie_env/models/model.h"
#include "genie_env/models/vision_memory/sizes.h"

namespace genie_env {

/// A diagonal Gaussian over latents: float32 [N, latents] each.
struct LatentGaussian {
  at::Tensor mu;
  at::Tensor logvar;
};

/// V of World Models (Ha & Schmidhuber 2018, appendix A.1): a convolutional variational autoencoder
/// for frames of H x W x 3; with 64 x 64 it is the paper's. Of other sizes (VisionSide), the
/// convolutions are the same, and the decoder starts from a grid of features instead of one pixel.
class Vision : public Model {
 public:
  /// sizes: latents 1 to kMaxLatents, sides as kMinVisionSide and the two beside it say. beta: the
  /// weight of the KL divergence against the squared error (beta-VAE, Higgins et al. 2017). With
  /// the paper's 1, V does not encode things of few pixels, such as a distant fireball. emphasis:
  /// how much more pixels count whose colour is rare at their place (see ComputeLoss), 0 or more.
  /// Throws std::invalid_argument for other sizes and weights.
  explicit Vision(const VisionSizes& sizes = {}, uint64_t seed = 0, double beta = 1,
                  double emphasis = 0);

  const VisionSizes& sizes() const { return sizes_; }

  /// frames: uint8 [N, H, W, 3].
  LatentGaussian Encode(const at::Tensor& frames) const;

  /// latents: [N, latents] in the type of the weights, float32 or (frozen) bfloat16. Pixels in [0,
  /// 1]: float32 [N, 3, H, W].
  at::Tensor Decode(const at::Tensor& latents) const;

  /// batch: "frames" uint8 [N, H, W, 3]. The squared error summed over pixels plus
  /// beta * max(KL, latents / 2), averaged over the images. Terms: "squared_error", "kl".
  /// With an emphasis, the squared errors are multiplied by models/emphasis.h's; "squared_error" is
  /// told without it.
  Loss ComputeLoss(const TensorMap& batch, TrainingNoise& noise) override;

 private:
  using Layer = std::shared_ptr<Affine>;

  at::Tensor ToPixels(const at::Tensor& frames) const;
  LatentGaussian EncodePixels(const at::Tensor& pixels) const;

  VisionSizes sizes_;
  VisionSide height_, width_;
  double beta_, emphasis_;
  Layer conv1_, conv2_, conv3_, conv4_, mu_, logvar_;
  Layer expand_, deconv1_, deconv2_, deconv3_, deconv4_;
};

/// Pixels in [0, 1] (float [N, 3, H, W]) as frames: uint8 [N, H, W, 3].
at::Tensor ToFrames(const at::Tensor& pixels);

}  // namespace genie_env
