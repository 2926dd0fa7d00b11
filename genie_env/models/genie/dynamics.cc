#include "genie_env/models/genie/dynamics.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>
#include <utility>

#include "genie_env/core/limits.h"
#include "genie_env/models/genie/tokenizer.h"
#include "genie_env/tensor/check_tensor.h"

namespace genie_env {
namespace {

constexpr double kMaxCorruption = 0.1;
constexpr double kSmallestSpread = 1e-6;  // of codes: all alike, they are mapped to 0

/// Hands out consecutive pieces of one draw.
class Draws {
 public:
  explicit Draws(at::Tensor all) : all_(std::move(all)) {}
  at::Tensor Next(at::IntArrayRef shape) {
    int64_t count = 1;
    for (const int64_t size : shape) {
      count *= size;
    }
    at::Tensor piece = all_.narrow(0, used_, count).view(shape);
    used_ += count;
    return piece;
  }

 private:
  at::Tensor all_;
  int64_t used_ = 0;
};

// Nats a token: logits [..., codes], targets [...].
at::Tensor CrossEntropy(const at::Tensor& logits, const at::Tensor& targets) {
  return at::cross_entropy_loss(logits.flatten(0, -2), targets.flatten(), /*weight=*/{},
                                at::Reduction::None)
      .view(targets.sizes());
}

void CheckFinite(const char* name, const at::Tensor& codes, const char* owner) {
  if (codes.isfinite().all().item<bool>()) return;
  throw std::invalid_argument(std::string(name) +
                              " holds a value that is not finite: give the codes of a " + owner);
}

}  // namespace

Dynamics::Dynamics(DynamicsSizes sizes, const at::Tensor& action_codes, uint64_t seed,
                   const at::Tensor& token_codes)
    : Model("Dynamics"), sizes_(sizes) {
  sizes.block.Check();
  CheckSize("positions", sizes.positions, kMaxPositions);
  CheckSize("codes", sizes.codes, kMaxCodes, 2);
  CheckSize("blocks", sizes.blocks, kMaxBlocks);
  CheckSize("window", sizes.window, kMaxWindow, 2);  // the frame before and the current one
  CheckSize("passes", sizes.passes, kMaxPasses);
  const int64_t columns = sizes.block.columns;
  if (columns < 0 || (columns > 0 && sizes.positions % columns != 0)) {
    throw std::invalid_argument("columns is " + std::to_string(columns) +
                                "; expected a divisor of the " + std::to_string(sizes.positions) +
                                " positions, or 0");
  }
  CheckTensor(action_codes, "action_codes", at::kFloat, {-1, -1});
  CheckSize("the number of action_codes", action_codes.size(0), kMaxLatentActions);
  CheckSize("the dimensions of action_codes", action_codes.size(1), kMaxCodeDimensions);
  CheckFinite("action_codes", action_codes, "latent action model");
  if (token_codes.defined()) {
    CheckTensor(token_codes, "token_codes", at::kFloat, {sizes.codes, -1});
    CheckSize("the dimensions of token_codes", token_codes.size(1), kMaxCodeDimensions);
    CheckFinite("token_codes", token_codes, "tokenizer");
  }
  const int64_t width = sizes.block.width;
  LayerNumbers layers{seed};
  action_codes_ = register_buffer("action_codes", action_codes.detach().clone());
  embedding_ = register_parameter("embedding", layers.Weight({sizes.codes + 1, width}, 1));
  positions_ =
      register_parameter("positions", layers.Weight({sizes.positions, width}, kPositionBound));
  if (sizes.block.columns > 0) {
    previous_ = register_parameter("previous", layers.Weight({sizes.codes, width}, 1));
  }
  from_action_ = register_module("from_action", layers.Linear(action_codes.size(1), width));
  transformer_ = register_module(
      "transformer", std::make_shared<StTransformer>(sizes.blocks, sizes.block, false, layers));
  to_logits_ = register_module("to_logits", layers.Linear(width, sizes.codes));
  if (token_codes.defined()) InitialiseFrom(token_codes.to(at::kCPU), layers);
}

// Every weight gets the variance that it has without codes, 1 / 3 or 1 / (3 * width).
void Dynamics::InitialiseFrom(const at::Tensor& token_codes, LayerNumbers& layers) {
  const c10::AutoGradMode no_gradients(false);
  const at::Tensor centred = token_codes - token_codes.mean(0);
  const at::Tensor codes = centred / centred.square().mean().sqrt().clamp_min(kSmallestSpread);
  const int64_t width = sizes_.block.width;
  const double bound = 1 / std::sqrt(static_cast<double>(codes.size(1)));
  const auto map = [&](double scale) {
    return at::matmul(codes, layers.Weight({codes.size(1), width}, scale * bound));
  };
  embedding_.slice(0, 0, sizes_.codes).copy_(map(1));
  to_logits_->weight.copy_(map(1 / std::sqrt(static_cast<double>(width))));
  if (previous_.defined()) previous_.copy_(map(1));
}

void Dynamics::Check(const at::Tensor& tokens, const at::Tensor& actions) const {
  CheckTokens(tokens, sizes_.positions, sizes_.codes);
  if (tokens.size(0) < 1 || tokens.size(1) < 2) {
    throw std::invalid_argument("tokens: got " + Describe(tokens) +
                                ", but the dynamics expect clips of at least 2 frames");
  }
  CheckTensor(actions, "actions", at::kLong, {tokens.size(0), tokens.size(1) - 1});
  if (((actions < 0) | (actions >= this->actions())).any().item<bool>()) {
    throw std::invalid_argument("an action is outside 0 .. " + std::to_string(this->actions() - 1) +
                                ": the actions are of another latent action model");
  }
}

// Frames 0 .. T - 1 are clean, T .. 2T - 2 the masked copies of 1 .. T - 1.
TimeGrid Dynamics::TwoStreams(int64_t frames, at::Device device) const {
  const TimeGrid clean = CausalTime(frames, sizes_.window, sizes_.block.head(), device);
  const at::Tensor itself = at::eye(frames - 1, at::TensorOptions(device).dtype(at::kBool));
  const at::Tensor before = clean.visible.slice(0, 1).tril(0);
  const at::Tensor masked_visible = at::cat({before, itself}, 1);
  const at::Tensor clean_visible =
      at::cat({clean.visible, at::zeros({frames, frames - 1}, clean.visible.options())}, 1);
  return {.rotations = at::cat({clean.rotations, clean.rotations.slice(0, 1)}),
          .visible = at::cat({clean_visible, masked_visible})};
}

at::Tensor Dynamics::Logits(const at::Tensor& tokens, const at::Tensor& masked,
                            const at::Tensor& actions) const {
  Check(tokens, actions);
  CheckTensor(masked, "masked", at::kLong, {tokens.size(0), tokens.size(1) - 1, sizes_.positions});
  CheckTokens(masked, sizes_.positions, sizes_.codes + 1);
  const at::Device device = embedding_.device();
  return Predict(tokens.to(device), masked.to(device), actions.to(device));
}

at::Tensor Dynamics::Predict(const at::Tensor& tokens, const at::Tensor& masked,
                             const at::Tensor& actions) const {
  const int64_t frames = tokens.size(1);
  const at::Tensor x = at::embedding(embedding_, at::cat({tokens, masked}, 1)) + positions_;
  // What leads to each frame from the second on; what led to a clip's first one is unknown.
  at::Tensor transition = Apply(*from_action_, at::embedding(action_codes_, actions)).unsqueeze(2);
  if (previous_.defined()) {
    transition = transition + at::embedding(previous_, tokens.slice(1, 0, frames - 1));
  }
  const at::Tensor unknown = at::zeros_like(transition.slice(1, 0, 1));
  const at::Tensor y = transformer_->ForwardFrom(
      frames, x + at::cat({unknown, transition, transition}, 1), TwoStreams(frames, x.device()));
  return Apply(*to_logits_, y).to(at::kFloat);
}

at::Tensor Dynamics::CrossEntropyByFrame(const at::Tensor& tokens,
                                         const at::Tensor& actions) const {
  Check(tokens, actions);
  const at::Device device = embedding_.device();
  const at::Tensor clean = tokens.to(device), next = clean.slice(1, 1);
  const at::Tensor hidden = at::full_like(next, mask_token());
  return CrossEntropy(Predict(clean, hidden, actions.to(device)), next).mean(at::IntArrayRef{0, 2});
}

Loss Dynamics::ComputeLoss(const TensorMap& batch, TrainingNoise& noise) {
  Check(Take(batch, "tokens"), Take(batch, "actions"));
  const at::Device device = embedding_.device();
  const at::Tensor tokens = Take(batch, "tokens").to(device), next = tokens.slice(1, 1);
  const int64_t clips = tokens.size(0), frames = tokens.size(1), positions = tokens.size(2);

  const int64_t all = tokens.numel(), hideable = next.numel();
  Draws draws(noise.Uniform({clips + 2 * all + clips * (frames - 1) + hideable}, device));
  const at::Tensor corruption = kMaxCorruption * draws.Next({clips, 1, 1});
  const at::Tensor corrupted = draws.Next(tokens.sizes()) < corruption;
  const at::Tensor random =
      (draws.Next(tokens.sizes()) * static_cast<double>(sizes_.codes)).to(at::kLong);
  const double last_pass =
      static_cast<double>(sizes_.passes - 1) / static_cast<double>(sizes_.passes);
  const at::Tensor ratio =
      (draws.Next({clips, frames - 1, 1}) * (std::numbers::pi / 2 * last_pass)).cos();
  const at::Tensor hidden = draws.Next({clips, frames - 1, positions}) < ratio;

  const at::Tensor logits =
      Predict(at::where(corrupted, random, tokens), next.masked_fill(hidden, mask_token()),
              Take(batch, "actions").to(device));
  const at::Tensor share = hidden.to(at::kFloat) / hidden.sum().clamp_min(1);
  const at::Tensor nats = CrossEntropy(logits, next);
  const at::Tensor cross_entropy = (nats * share).sum();
  at::Tensor learned = cross_entropy;
  if (const auto weights = batch.find("weights"); weights != batch.end()) {
    CheckTensor(weights->second, "weights", at::kFloat, next.sizes());
    learned = (nats * share * weights->second.to(device)).sum();
  }
  const at::Tensor right = (logits.detach().argmax(-1) == next).to(at::kFloat);
  return {
      .total = learned,
      .terms = {{"cross_entropy", cross_entropy.detach()}, {"accuracy", (right * share).sum()}}};
}

}  // namespace genie_env
