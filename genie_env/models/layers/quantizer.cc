#include "genie_env/models/layers/quantizer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <tuple>

#include "genie_env/models/autocast.h"

namespace genie_env {

at::Tensor UnitLength(const at::Tensor& x) {
  return x / at::linalg_vector_norm(x, 2, {-1}, /*keepdim=*/true).clamp_min(1e-12);
}

Quantizer::Quantizer(int64_t codes, int64_t dimensions, double commitment, LayerNumbers& layers)
    : commitment_(commitment) {
  // Codes of length 1 turn by about the same angle in one step of the optimiser.
  codebook_ = register_parameter("codebook", UnitLength(layers.Weight({codes, dimensions}, 1)));
  idle_ = register_buffer("idle", at::zeros({codes}, at::kLong));
}

at::Tensor Quantizer::Directions() const { return UnitLength(codebook_); }

at::Tensor Quantizer::Lookup(const at::Tensor& codes) const {
  return at::embedding(Directions(), codes);
}

at::Tensor Quantizer::Nearest(const at::Tensor& latents) const {
  // bfloat16 cannot tell neighbouring codes apart. (The length of the latents does not matter.)
  const Bf16Scope exact(false, latents.device().type());
  const c10::AutoGradMode no_gradients(false);
  return at::matmul(latents.to(at::kFloat), Directions().t()).argmax(-1);
}

Quantizer::Result Quantizer::Forward(const at::Tensor& latents) {
  const Bf16Scope exact(false, latents.device().type());
  const at::Tensor latent = UnitLength(latents.to(at::kFloat));
  const at::Tensor codes = Nearest(latent);
  const at::Tensor chosen = Lookup(codes);
  const auto distance = [](const at::Tensor& a, const at::Tensor& b) {
    return (a - b).square().sum(-1);
  };
  const at::Tensor to_codes = distance(latent, chosen.detach());
  const at::Tensor to_latents = distance(latent.detach(), chosen);

  const at::Tensor flat = codes.flatten();
  const at::Tensor error = to_codes.detach().flatten();
  const at::Tensor zeros = at::zeros({codebook_.size(0)}, error.options());
  const at::Tensor counts = zeros.index_add(0, flat, at::ones_like(error));
  if (c10::GradMode::is_enabled()) {
    counts_ = counts;
    losses_ = zeros.index_add(0, flat, error);
  }
  const at::Tensor share = counts / counts.sum();
  const at::Tensor entropy = -(share * share.clamp_min(1e-12).log()).sum();
  return {.codes = codes,
          .latent = latent + (chosen - latent).detach(),
          .loss = to_latents.mean() + commitment_ * to_codes.mean(),
          .terms = {{"codes_used", (counts > 0).to(at::kFloat).mean()},
                    {"perplexity", entropy.exp()},
                    {"quantization_error", error.mean()}}};
}

void Quantizer::RestartDeadCodes(TrainingNoise& noise) {
  const at::Tensor used = counts_ > 0;
  idle_.add_(1).masked_fill_(used, 0);
  const at::Tensor dead = (idle_ >= kPatience).nonzero().squeeze(1);
  const int64_t count = dead.size(0), dimensions = codebook_.size(1);
  if (count == 0) {
    return;
  }
  // Used codes with the largest error come first; after the last of them, the first follows again.
  const at::Tensor order = std::get<1>(at::sort(losses_.masked_fill(~used, -1), /*stable=*/true,
                                                /*dim=*/0, /*descending=*/true));
  const at::Tensor turn = at::arange(count, dead.options()) % used.sum();
  const at::Tensor split = order.index_select(0, turn);
  // The new code is as far from the old one as its latents are.
  const at::Tensor variance = (losses_ / counts_).index_select(0, split) / dimensions;
  const at::Tensor step = noise.Normal({count, dimensions}, dead.device());
  codebook_.index_copy_(0, dead,
                        Directions().index_select(0, split) + step * variance.sqrt().unsqueeze(1));
  idle_.index_fill_(0, dead, 0);
}

}  // namespace genie_env
