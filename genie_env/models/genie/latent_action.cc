#include "genie_env/models/genie/latent_action.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "genie_env/core/limits.h"
#include "genie_env/tensor/check_tensor.h"

namespace genie_env {
namespace {

// A larger commitment draws all latents to one or two codes early in training.
constexpr double kActionCommitment = 0.02;
constexpr double kFirstChange = 0.1;
constexpr double kActionErrorFloor = 1e-2;
constexpr double kMaxUnknownMotion = 0.25;
constexpr double kCentring = 0.1;
constexpr const char* kName = "the latent action model";

/// Frames whose channels have mean 0 and deviation 1, and their original mean and deviation: [N, T,
/// 1, 1, 3] each.
struct Standardised {
  at::Tensor pixels, mean, deviation;
};

Standardised Standardise(const at::Tensor& pixels) {
  const at::Tensor mean = pixels.mean({2, 3}, /*keepdim=*/true);
  const at::Tensor centred = pixels - mean;
  const at::Tensor deviation =
      (centred.square().mean({2, 3}, /*keepdim=*/true) + LatentAction::kVarianceFloor).sqrt();
  return {.pixels = centred / deviation, .mean = mean, .deviation = deviation};
}

/// The first of a clip's transitions with at most kMaxUnknownMotion from before the clip, or the
/// last.
int64_t FirstKnown(double action_decay, int64_t transitions) {
  int64_t first = 0;
  for (double unknown = action_decay; unknown > kMaxUnknownMotion; unknown *= action_decay) ++first;
  return std::min(first, transitions - 1);
}

}  // namespace

LatentAction::LatentAction(LatentActionSizes sizes, uint64_t seed)
    : Model("LatentAction"), sizes_(sizes) {
  sizes.clip.Check();
  sizes.block.Check();
  CheckSize("encoder_blocks", sizes.encoder_blocks, kMaxBlocks);
  CheckSize("decoder_blocks", sizes.decoder_blocks, kMaxBlocks);
  CheckSize("actions", sizes.actions, kMaxLatentActions, 2);
  CheckSize("code_dimensions", sizes.code_dimensions, kMaxCodeDimensions, 2);
  CheckSize("window", sizes.window, kMaxWindow, 2);  // a transition is between two frames
  if (!(sizes.action_decay >= 0 && sizes.action_decay < 1)) {
    throw std::invalid_argument("action_decay is " + std::to_string(sizes.action_decay) +
                                ", expected at least 0 and less than 1");
  }
  const int64_t width = sizes.block.width;
  const auto positions = [&](LayerNumbers& layers) {
    return layers.Weight({sizes.clip.positions(), width}, kPositionBound);
  };
  LayerNumbers layers{seed};
  encoder_embed_ = register_module("encoder_embed", layers.Linear(2 * sizes.clip.pixels(), width));
  encoder_positions_ = register_parameter("encoder_positions", positions(layers));
  encoder_ = register_module(
      "encoder", std::make_shared<StTransformer>(sizes.encoder_blocks, sizes.block, false, layers));
  to_code_ = register_module("to_code", layers.Linear(width, sizes.code_dimensions));
  quantizer_ = register_module(
      "quantizer",
      std::make_shared<Quantizer>(sizes.actions, sizes.code_dimensions, kActionCommitment, layers));
  from_code_ = register_module("from_code", layers.Linear(sizes.code_dimensions, width));
  decoder_embed_ = register_module("decoder_embed", layers.Linear(sizes.clip.pixels(), width));
  decoder_positions_ = register_parameter("decoder_positions", positions(layers));
  decoder_ = register_module(
      "decoder", std::make_shared<StTransformer>(sizes.decoder_blocks, sizes.block, true, layers));
  to_pixels_ = register_module("to_pixels", layers.Linear(width, sizes.clip.pixels()));
  const c10::AutoGradMode no_gradients(false);
  to_pixels_->weight.mul_(kFirstChange);
  to_pixels_->bias.mul_(kFirstChange);
}

at::Tensor LatentAction::Latents(const at::Tensor& patches) const {
  const TimeGrid time =
      CausalTime(patches.size(1), sizes_.window, sizes_.block.head(), patches.device());
  const at::Tensor changes = at::zeros_like(patches);
  changes.slice(1, 1).copy_(patches.slice(1, 1) - patches.slice(1, 0, -1));
  const at::Tensor x = Apply(*encoder_embed_, at::cat({patches, changes}, -1)) + encoder_positions_;
  // The first frame ends no transition.
  return Apply(*to_code_, encoder_->Forward(x, time).slice(1, 1).mean(2));
}

at::Tensor LatentAction::Motion(const at::Tensor& latents) const {
  if (sizes_.action_decay == 0) return latents;
  const at::Tensor time = at::arange(latents.size(1), latents.options().dtype(at::kFloat));
  const at::Tensor ages = time.unsqueeze(1) - time;
  const at::Tensor left = at::pow(sizes_.action_decay, ages.clamp_min(0)) * (ages >= 0);
  return at::matmul((1 - sizes_.action_decay) * left, latents);
}

at::Tensor LatentAction::Next(const at::Tensor& patches, const at::Tensor& latents) const {
  const at::Tensor x = Apply(*decoder_embed_, patches) + decoder_positions_ +
                       Apply(*from_code_, Motion(latents)).unsqueeze(2);
  return patches + Apply(*to_pixels_, decoder_->Forward(x, {}));
}

at::Tensor LatentAction::Encode(const at::Tensor& frames) const {
  const at::Tensor pixels =
      ClipPixels(frames, sizes_.clip, 2, kName).to(encoder_embed_->weight.device());
  return quantizer_->Nearest(Latents(ToPatches(Standardise(pixels).pixels, sizes_.clip)));
}

at::Tensor LatentAction::Predict(const at::Tensor& frames, const at::Tensor& actions) const {
  const at::Device device = encoder_embed_->weight.device();
  const Standardised given = Standardise(ClipPixels(frames, sizes_.clip, 1, kName).to(device));
  CheckTensor(actions, "actions", at::kLong, {frames.size(0), frames.size(1)});
  if (((actions < 0) | (actions >= sizes_.actions)).any().item<bool>()) {
    throw std::invalid_argument("an action is outside 0 .. " + std::to_string(sizes_.actions - 1));
  }
  const at::Tensor next =
      Next(ToPatches(given.pixels, sizes_.clip), quantizer_->Lookup(actions.to(device)));
  return FromPatches(next, sizes_.clip) * given.deviation + given.mean;
}

Loss LatentAction::ComputeLoss(const TensorMap& batch, TrainingNoise& /*noise*/) {
  const at::Tensor pixels =
      ClipPixels(Take(batch, "frames"), sizes_.clip, 2, kName).to(encoder_embed_->weight.device());
  const at::Tensor patches = ToPatches(Standardise(pixels).pixels, sizes_.clip);
  at::Tensor latents = Latents(patches).to(at::kFloat);
  const auto mean = [](const at::Tensor& x) { return x.flatten(0, 1).mean(0); };
  if (c10::GradMode::is_enabled()) mean_ = mean(latents.detach());
  // The values stay the same. Their common gradient reaches the bias alone, which AfterUpdate
  // centres.
  const at::Tensor shared = mean(latents - to_code_->bias);
  latents = latents - (shared - shared.detach());
  Quantizer::Result quantized = quantizer_->Forward(latents);
  const at::Tensor before = patches.slice(1, 0, -1), after = patches.slice(1, 1);
  const int64_t first = FirstKnown(sizes_.action_decay, before.size(1));
  const at::Tensor errors =
      FrameErrors(Next(before, quantized.latent).slice(1, first), after.slice(1, first));
  Loss loss{.total = (errors + kActionErrorFloor).log().mean() + quantized.loss,
            .terms = std::move(quantized.terms)};
  const at::Tensor changes = FrameErrors(before.slice(1, first), after.slice(1, first));
  loss.terms["explained"] = 1 - errors.detach().sum() / changes.sum();
  return loss;
}

void LatentAction::AfterUpdate(TrainingNoise& noise) {
  to_code_->bias.sub_(kCentring * mean_);
  quantizer_->RestartDeadCodes(noise);
}

}  // namespace genie_env
