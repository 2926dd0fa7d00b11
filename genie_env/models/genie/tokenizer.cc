#include "genie_env/models/genie/tokenizer.h"

#include <ATen/TensorOperators.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "genie_env/core/limits.h"
#include "genie_env/core/text.h"
#include "genie_env/models/emphasis.h"
#include "genie_env/tensor/check_tensor.h"

namespace genie_env {
namespace {

constexpr double kTokenizerCommitment = 0.25;
constexpr double kTokenizerErrorFloor = 1e-4;

}  // namespace

void CheckTokens(const at::Tensor& tokens, int64_t positions, int64_t codes) {
  CheckTensor(tokens, "tokens", at::kLong, {-1, -1, positions});
  if (tokens.numel() > 0 && ((tokens < 0) | (tokens >= codes)).any().item<bool>()) {
    throw std::invalid_argument("a token is outside 0 .. " + std::to_string(codes - 1) +
                                ": the tokens are of another tokenizer");
  }
}

Tokenizer::Tokenizer(TokenizerSizes sizes, uint64_t seed, double noise, double emphasis)
    : Model("Tokenizer"), sizes_(sizes), noise_(noise), emphasis_(emphasis) {
  sizes.clip.Check();
  sizes.block.Check();
  CheckSize("encoder_blocks", sizes.encoder_blocks, kMaxBlocks);
  CheckSize("decoder_blocks", sizes.decoder_blocks, kMaxBlocks);
  CheckSize("codes", sizes.codes, kMaxCodes, 2);
  CheckSize("code_dimensions", sizes.code_dimensions, kMaxCodeDimensions, 2);
  CheckSize("window", sizes.window, kMaxWindow);
  if (!(noise >= 0) || !std::isfinite(noise)) {
    throw std::invalid_argument("noise is " + NumberText(noise) +
                                "; expected a finite number, 0 or more");
  }
  CheckEmphasis(emphasis);
  const int64_t width = sizes.block.width, positions = sizes.clip.positions();
  LayerNumbers layers{seed};
  embed_ = register_module("embed", layers.Linear(sizes.clip.pixels(), width));
  encoder_positions_ =
      register_parameter("encoder_positions", layers.Weight({positions, width}, kPositionBound));
  encoder_ = register_module(
      "encoder", std::make_shared<StTransformer>(sizes.encoder_blocks, sizes.block, false, layers));
  to_code_ = register_module("to_code", layers.Linear(width, sizes.code_dimensions));
  quantizer_ =
      register_module("quantizer", std::make_shared<Quantizer>(sizes.codes, sizes.code_dimensions,
                                                               kTokenizerCommitment, layers));
  from_code_ = register_module("from_code", layers.Linear(sizes.code_dimensions, width));
  decoder_positions_ =
      register_parameter("decoder_positions", layers.Weight({positions, width}, kPositionBound));
  decoder_ = register_module(
      "decoder", std::make_shared<StTransformer>(sizes.decoder_blocks, sizes.block, true, layers));
  to_pixels_ = register_module("to_pixels", layers.Linear(width, sizes.clip.pixels()));
}

at::Tensor Tokenizer::Latents(const at::Tensor& patches) const {
  const TimeGrid time =
      CausalTime(patches.size(1), sizes_.window, sizes_.block.head(), patches.device());
  const at::Tensor x = Apply(*embed_, patches) + encoder_positions_;
  return Apply(*to_code_, encoder_->Forward(x, time));
}

at::Tensor Tokenizer::Patches(const at::Tensor& latents) const {
  const at::Tensor x = Apply(*from_code_, latents) + decoder_positions_;
  return Apply(*to_pixels_, decoder_->Forward(x, {})).to(at::kFloat);
}

at::Tensor Tokenizer::Encode(const at::Tensor& frames) const {
  const at::Tensor pixels =
      ClipPixels(frames, sizes_.clip, 1, "the tokenizer").to(embed_->weight.device());
  return quantizer_->Nearest(Latents(ToPatches(pixels, sizes_.clip)));
}

at::Tensor Tokenizer::Decode(const at::Tensor& tokens) const {
  CheckTokens(tokens, sizes_.clip.positions(), sizes_.codes);
  const at::Tensor latents = quantizer_->Lookup(tokens.to(embed_->weight.device()));
  return FromPatches(Patches(latents), sizes_.clip);
}

Loss Tokenizer::ComputeLoss(const TensorMap& batch, TrainingNoise& noise) {
  const at::Tensor pixels = ClipPixels(Take(batch, "frames"), sizes_.clip, 1, "the tokenizer");
  const at::Tensor patches = ToPatches(pixels.to(embed_->weight.device()), sizes_.clip);
  const at::Tensor seen = noise_ > 0 && is_training()
                              ? patches + noise_ * noise.Normal(patches.sizes(), patches.device())
                              : patches;
  Quantizer::Result quantized = quantizer_->Forward(Latents(seen));
  const at::Tensor colours = patches.flatten(0, 1).unflatten(-1, {-1, 3});  // [N T, S, pixels, 3]
  const at::Tensor squared = (Patches(quantized.latent).view_as(colours) - colours).square();
  const at::Tensor errors = squared.flatten(1).mean(1);
  const at::Tensor learned =
      emphasis_ > 0 ? (squared * Emphasis(colours, emphasis_)).flatten(1).mean(1) : errors;
  Loss loss{.total = (learned + kTokenizerErrorFloor).log().mean() + quantized.loss,
            .terms = std::move(quantized.terms)};
  loss.terms["psnr"] = errors.detach().log10().mean() * -10;
  return loss;
}

void Tokenizer::AfterUpdate(TrainingNoise& noise) { quantizer_->RestartDeadCodes(noise); }

}  // namespace genie_env
