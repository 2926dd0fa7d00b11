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
/// for frames of 64 x 64 x 3.
class Vision : public Model {
 public:
  static constexpr int64_t kFrame = kVisionFrame;

  /// latents: 1 to kMaxLatents. beta: the weight of the KL divergence against the squared error
  /// (beta-VAE, Higgins et al. 2017). With the paper's 1, V does not encode things of few pixels,
  /// such as a distant fireball.
  explicit Vision(int64_t latents = 64, uint64_t seed = 0, double beta = 1);

  int64_t latents() const { return latents_; }

  /// frames: uint8 [N, 64, 64, 3].
  LatentGaussian Encode(const at::Tensor& frames) const;

  /// latents: [N, latents] in the type of the weights, float32 or (frozen) bfloat16. Pixels in [0,
  /// 1]: float32 [N, 3, 64, 64].
  at::Tensor Decode(const at::Tensor& latents) const;

  /// batch: "frames" uint8 [N, 64, 64, 3]. The squared error summed over pixels plus
  /// beta * max(KL, latents / 2), averaged over the images. Terms: "squared_error", "kl".
  Loss ComputeLoss(const TensorMap& batch, TrainingNoise& noise) override;

 private:
  using Layer = std::shared_ptr<Affine>;

  LatentGaussian EncodePixels(const at::Tensor& pixels) const;

  int64_t latents_;
  double beta_;
  Layer conv1_, conv2_, conv3_, conv4_, mu_, logvar_;
  Layer expand_, deconv1_, deconv2_, deconv3_, deconv4_;
};

/// Pixels in [0, 1] (float [N, 3, H, W]) as frames: uint8 [N, H, W, 3].
at::Tensor ToFrames(const at::Tensor& pixels);

}  // namespace genie_env
