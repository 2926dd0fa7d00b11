#include "genie_env/models/vision_memory/vision.h"

#include <ATen/ops/clamp_min.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>

#include <cmath>
#include <stdexcept>
#include <string>

#include "genie_env/core/limits.h"
#include "genie_env/core/text.h"
#include "genie_env/models/emphasis.h"
#include "genie_env/models/layers/strided_conv.h"
#include "genie_env/tensor/check_tensor.h"

namespace genie_env {
namespace {

constexpr int64_t kEncoded = 256;    // channels of the fourth convolution
constexpr int64_t kFeatures = 1024;  // of each pixel of the grid that the decoder starts from

std::shared_ptr<Affine> Convolution(int64_t in, int64_t out, int64_t kernel, uint64_t seed,
                                    uint32_t layer) {
  return std::make_shared<Affine>(std::vector<int64_t>{out, in, kernel, kernel}, out,
                                  in * kernel * kernel, seed, layer);
}

std::shared_ptr<Affine> Deconvolution(int64_t in, int64_t out, int64_t kernel, uint64_t seed,
                                      uint32_t layer) {
  return std::make_shared<Affine>(std::vector<int64_t>{in, out, kernel, kernel}, out,
                                  out * kernel * kernel, seed, layer);
}

std::shared_ptr<Affine> LinearLayer(int64_t in, int64_t out, uint64_t seed, uint32_t layer) {
  return std::make_shared<Affine>(std::vector<int64_t>{out, in}, out, in, seed, layer);
}

at::Tensor Conv(const Affine& layer, const at::Tensor& x) {
  return RectifiedConvolution(x, layer.weight, layer.bias);
}

at::Tensor Deconv(const Affine& layer, const at::Tensor& x, bool rectified = true) {
  return TransposedConvolution(x, layer.weight, layer.bias, rectified);
}

const VisionSizes& Checked(const VisionSizes& sizes) {
  CheckSize("latents", sizes.latents, kMaxLatents);
  for (const int64_t side : {sizes.height, sizes.width}) {
    if (side >= kMinVisionSide && side <= kMaxVisionSide && side % kVisionSideStep == 0) continue;
    throw std::invalid_argument(
        "frames are " + std::to_string(sizes.height) + " x " + std::to_string(sizes.width) +
        "; V takes sides that are multiples of " + std::to_string(kVisionSideStep) + " from " +
        std::to_string(kMinVisionSide) + " to " + std::to_string(kMaxVisionSide));
  }
  return sizes;
}

}  // namespace

Vision::Vision(const VisionSizes& sizes, uint64_t seed, double beta, double emphasis)
    : Model("Vision"),
      sizes_(Checked(sizes)),
      height_(sizes.height),
      width_(sizes.width),
      beta_(beta),
      emphasis_(emphasis) {
  const int64_t latents = sizes.latents;
  const int64_t encoded = height_.encoded * width_.encoded * kEncoded;
  const int64_t features = height_.grid * width_.grid * kFeatures;
  if (!(beta > 0) || !std::isfinite(beta)) {
    throw std::invalid_argument("beta is " + NumberText(beta) +
                                "; expected a finite number above 0");
  }
  CheckEmphasis(emphasis);
  conv1_ = register_module("conv1", Convolution(3, 32, 4, seed, 0));
  conv2_ = register_module("conv2", Convolution(32, 64, 4, seed, 1));
  conv3_ = register_module("conv3", Convolution(64, 128, 4, seed, 2));
  conv4_ = register_module("conv4", Convolution(128, kEncoded, 4, seed, 3));
  mu_ = register_module("mu", LinearLayer(encoded, latents, seed, 4));
  logvar_ = register_module("logvar", LinearLayer(encoded, latents, seed, 5));
  expand_ = register_module("expand", LinearLayer(latents, features, seed, 6));
  deconv1_ = register_module("deconv1", Deconvolution(kFeatures, 128, 5, seed, 7));
  deconv2_ = register_module("deconv2", Deconvolution(128, 64, 5, seed, 8));
  deconv3_ = register_module("deconv3", Deconvolution(64, 32, 6, seed, 9));
  deconv4_ = register_module("deconv4", Deconvolution(32, 3, 6, seed, 10));
}

// uint8 [N, H, W, 3] to float [N, seen height, seen width, 3].
at::Tensor Vision::ToPixels(const at::Tensor& frames) const {
  CheckTensor(frames, "frames", at::kByte, {-1, sizes_.height, sizes_.width, 3});
  at::Tensor pixels = frames.to(at::kFloat).mul_(1.0 / 255);
  if (height_.border == 0 && width_.border == 0) return pixels;
  return at::constant_pad_nd(pixels,
                             {0, 0, width_.border, width_.border, height_.border, height_.border});
}

LatentGaussian Vision::EncodePixels(const at::Tensor& pixels) const {
  at::Tensor x = Conv(*conv4_, Conv(*conv3_, Conv(*conv2_, Conv(*conv1_, pixels))));
  x = x.permute({0, 3, 1, 2}).flatten(1);
  return {at::linear(x, mu_->weight, mu_->bias).to(at::kFloat),
          at::linear(x, logvar_->weight, logvar_->bias).to(at::kFloat)};
}

LatentGaussian Vision::Encode(const at::Tensor& frames) const {
  const at::Tensor& weight = conv1_->weight;  // bfloat16 in some frozen worlds
  return EncodePixels(ToPixels(frames).to(weight.device(), weight.scalar_type()));
}

at::Tensor Vision::Decode(const at::Tensor& latents) const {
  const at::Tensor& weight = expand_->weight;
  CheckTensor(latents, "latents", weight.scalar_type(), {-1, sizes_.latents});
  at::Tensor x = at::linear(latents.to(weight.device()), weight, expand_->bias);
  if (sizes_.rectified_features) x = at::relu(x);
  x = x.view({-1, height_.grid, width_.grid, kFeatures});
  x = Deconv(*deconv3_, Deconv(*deconv2_, Deconv(*deconv1_, x)));
  x = Deconv(*deconv4_, x, /*rectified=*/false);
  x = x.narrow(1, height_.border, sizes_.height).narrow(2, width_.border, sizes_.width);
  return at::sigmoid(x.to(at::kFloat)).permute({0, 3, 1, 2});
}

Loss Vision::ComputeLoss(const TensorMap& batch, TrainingNoise& noise) {
  const at::Tensor pixels = ToPixels(Take(batch, "frames")).to(conv1_->weight.device());
  const at::Tensor shown =
      pixels.narrow(1, height_.border, sizes_.height).narrow(2, width_.border, sizes_.width);
  const auto [mu, logvar] = EncodePixels(pixels);
  const at::Tensor epsilon = noise.Normal(mu.sizes(), mu.device());
  const at::Tensor decoded = Decode(mu + (0.5 * logvar).exp() * epsilon);

  const double images = static_cast<double>(pixels.size(0));
  const at::Tensor squared_error =
      at::mse_loss(decoded.permute({0, 2, 3, 1}), shown, at::Reduction::Sum) / images;
  const at::Tensor kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1);
  const double free_nats = 0.5 * static_cast<double>(sizes_.latents);
  at::Tensor learned = squared_error;
  if (emphasis_ > 0) {
    const at::Tensor errors = (decoded.permute({0, 2, 3, 1}) - shown).square();
    learned = (errors * Emphasis(shown, emphasis_)).sum() / images;
  }
  return {.total = learned + beta_ * kl.clamp_min(free_nats).mean(),
          .terms = {{"squared_error", squared_error.detach()}, {"kl", kl.detach().mean()}}};
}

at::Tensor ToFrames(const at::Tensor& pixels) {
  return pixels.mul(255).round_().clamp_(0, 255).to(at::kByte).permute({0, 2, 3, 1}).contiguous();
}

}  // namespace genie_env
