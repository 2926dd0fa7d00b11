#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "genie_env/kernels/cpu/amx_product.h"
#include "genie_env/kernels/cpu/packed_gemm.h"
#include "genie_env/tensor/gather_scatter.h"
#include "genie_env/tensor/scratch_pool.h"
#include "genie_env/worlds/vision_memory/frozen_memory.h"
#include "genie_env/worlds/vision_memory/memory_kernels.h"
#include "genie_env/worlds/vision_memory/mixture_cpu.h"
#include "genie_env/worlds/vision_memory/outcome_cpu.h"
#include "genie_env/worlds/vision_memory/panel_tasks.h"

// A step has three parts. Each consists of tasks (panel_tasks.h):
//
//   1. Convert [z, h] of every row to the type of the products' input, and draw its random numbers.
//   2. For a panel of 16 hidden units: multiply with [K, 4 gates x 16], then compute the LSTM's
//   cell.
//   3. For a panel of 16 latent dimensions: multiply with the weights of every component, then
//   sample and score (MixtureCpu).
//
// Where M has a head, it judges what came out, in OutcomeCpu.
//
// M's inputs for a numbered action and restart have few values: their terms are added from a table
// together with the bias. An action in a box is part of the input: [z, action, h].

namespace genie_env {
namespace {

constexpr int64_t kGateColumns = 4 * kPanel;
constexpr int64_t kRowsOfThread = 32;  // fewer are not worth waking a thread to assemble them

// The buffers of one step.
struct Scratch {
  at::Tensor input;         // [rows, inner]: [z, action of a box, h] in the products' type
  at::Tensor output_input;  // [rows, output inner]: the new h in the products' type
  at::Tensor context;       // int32 [rows]: the row of the gates' bias table
  MixtureScratch mixture;
};

template <typename Element>  // float or at::BFloat16
class MemoryCpu final : public FrozenMemory {
 public:
  explicit MemoryCpu(const MemoryWeights& weights)
      : latents_(weights.latents),
        hidden_(weights.sizes().hidden),
        box_(weights.action_inputs.defined() ? 0 : weights.sizes().actions),
        contexts_(box_ > 0 ? 2 : 2 * weights.action_inputs.size(0)),
        inner_(Padded(latents_ + box_ + hidden_)),
        output_inner_((hidden_ + 1) / 2 * 2),
        kernels_(SupportedMemoryKernels().back()),
        mixture_(MakeMixtureCpu<Element>(weights)) {
    const int64_t hidden_panels = Panels(hidden_);
    const auto by_panels = [&](const at::Tensor& gates) {  // [4 hidden, S] -> [panels, 4 x 16, S]
      return PadTo(gates.unflatten(0, {4, hidden_}), 1, hidden_panels * kPanel)
          .unflatten(1, {hidden_panels, kPanel})
          .transpose(0, 1)
          .flatten(1, 2);
    };
    const at::Tensor columns = weights.weight_ih.t();
    const at::Tensor weight =
        at::cat({weights.weight_ih.narrow(1, 0, latents_ + box_), weights.weight_hh}, 1);
    gate_weight_ = PackedPanels<Element>(by_panels(PadTo(weight, 1, inner_)));
    std::vector<at::Tensor> biases;
    for (int64_t context = 0; context < contexts_; ++context) {
      at::Tensor bias = weights.bias;
      if (box_ == 0) {
        const at::Tensor inputs = weights.action_inputs[context / 2].unsqueeze(1);
        bias = bias + (columns.narrow(0, latents_, inputs.size(0)) * inputs).sum(0);
      }
      biases.push_back(bias + columns[columns.size(0) - 1] * (context % 2));
    }
    gate_bias_ = by_panels(at::stack(biases, 1)).transpose(1, 2).contiguous();
    if (weights.outcome) outcome_.emplace(*weights.outcome);
    if (weights.reward_weight.defined()) {
      reward_weight_ = weights.reward_weight.contiguous();
      reward_bias_ = weights.reward_bias.item<float>();
    }
  }

  void Begin(const MemoryState& state, const at::Tensor& rows, const at::Tensor& z) const override {
    ScatterRows(state.z, rows, z);
    for (int64_t i = 0; i < rows.size(0); ++i) {
      const int64_t row = rows.const_data_ptr<int64_t>()[i];
      std::fill_n(state.h.mutable_data_ptr<float>() + row * hidden_, hidden_, 0.0f);
      std::fill_n(state.c.mutable_data_ptr<float>() + row * hidden_, hidden_, 0.0f);
      state.restart.mutable_data_ptr<float>()[row] = 1;
    }
  }

  MemoryOutcome Dream(const MemoryState& state, const at::Tensor& actions,
                      const MixtureDraws& draws,
                      const MemoryState& observation_out) const override {
    return Advance(state, actions, &draws, nullptr, observation_out);
  }

  MemoryOutcome Follow(const MemoryState& state, const at::Tensor& actions,
                       const at::Tensor& next) const override {
    return Advance(state, actions, nullptr, &next, {});
  }

 private:
  static constexpr bool kBf16 = kIsBf16<Element>;
  static constexpr at::ScalarType kType = kTypeOf<Element>;
  using Bits = BitsOf<Element>;

  // Exactly one of draws and next is not null.
  MemoryOutcome Advance(const MemoryState& state, const at::Tensor& actions,
                        const MixtureDraws* draws, const at::Tensor* next,
                        const MemoryState& observation_out) const {
    if (kBf16) CheckBf16StillWorks();
    const int64_t rows = state.z.size(0), padded = PaddedRows(rows);
    MemoryOutcome outcome{at::empty({rows}, at::kFloat), at::empty({rows}, at::kFloat)};
    const auto fits = [&](const Scratch& used) { return used.input.size(0) >= padded; };
    Scratch scratch = scratch_.Take(fits, [&]() -> Scratch {
      return {.input = at::empty({padded, inner_}, kType),
              .output_input = at::empty({padded, output_inner_}, kType),
              .context = at::empty({padded}, at::kInt),
              .mixture = mixture_->MakeScratch(padded)};
    });

    Assemble(state, actions, draws, scratch);
    Recur(state, scratch, observation_out);
    if (next != nullptr) state.z.copy_(*next);
    mixture_->Predict({.hidden = scratch.output_input,
                       .state = state,
                       .draws = draws,
                       .observation_out = observation_out,
                       .scratch = scratch.mixture,
                       .termination_logit = outcome.termination_logit});
    if (outcome_) {
      if (outcome_->has_reward()) outcome.reward = at::empty({rows}, at::kFloat);
      outcome_->Judge(scratch.output_input, hidden_, state.z, outcome);
    }
    if (reward_weight_.defined()) outcome.reward = LinearReward(state.h);

    // What is not finite in z shows in the surprise, and what is not in h in the logit.
    mixture_->Surprise(scratch.mixture, outcome.surprise);
    const float* logit = outcome.termination_logit.const_data_ptr<float>();
    float* surprise = outcome.surprise.mutable_data_ptr<float>();
    for (int64_t row = 0; row < rows; ++row) surprise[row] += 0 * logit[row];
    scratch_.Give(std::move(scratch));
    return outcome;
  }

  void Assemble(const MemoryState& state, const at::Tensor& actions, const MixtureDraws* draws,
                const Scratch& scratch) const {
    const int64_t rows = state.z.size(0);
    const auto z = state.z.const_data_ptr<float>(), h = state.h.const_data_ptr<float>();
    const auto restart = state.restart.const_data_ptr<float>();
    const auto number = box_ > 0 ? nullptr : actions.const_data_ptr<int64_t>();
    const auto point = box_ > 0 ? actions.const_data_ptr<float>() : nullptr;
    const auto out = Pointer(scratch.input), out_hidden = Pointer(scratch.output_input);
    const auto contexts = scratch.context.mutable_data_ptr<int32_t>();
    at::parallel_for(0, PaddedRows(rows), kRowsOfThread, [&](int64_t begin, int64_t end) {
      if (draws != nullptr && draws->draw && begin < rows) draws->draw(begin, std::min(end, rows));
      for (int64_t row = begin; row < end; ++row) {
        Bits* x = out + row * inner_;
        if (row >= rows) {
          std::fill_n(x, inner_, Bits{});
          std::fill_n(out_hidden + row * output_inner_, output_inner_, Bits{});
          continue;
        }
        Convert(latents_, z + row * latents_, x);
        if (box_ > 0) Convert(box_, point + row * box_, x + latents_);
        Convert(hidden_, h + row * hidden_, x + latents_ + box_);
        const int64_t read = latents_ + box_ + hidden_;
        std::fill_n(x + read, inner_ - read, Bits{});
        if (output_inner_ > hidden_) out_hidden[(row + 1) * output_inner_ - 1] = Bits{};
        const int64_t action = box_ > 0 ? 0 : number[row];
        contexts[row] = static_cast<int32_t>(2 * action + (restart[row] != 0 ? 1 : 0));
      }
    });
  }

  void Recur(const MemoryState& state, const Scratch& scratch,
             const MemoryState& observation_out) const {
    const auto x = scratch.input.const_data_ptr<Element>();
    const auto c = state.c.mutable_data_ptr<float>(), h = state.h.mutable_data_ptr<float>();
    ForEachTask(
        Panels(hidden_), state.z.size(0), kBf16, kGateColumns,
        [&](int64_t panel, int64_t first, int64_t rows, float* products) {
          gate_weight_.Multiply(panel, ProductRows(rows), x + first * inner_, inner_, products,
                                kGateColumns);
          const int64_t unit = panel * kPanel;
          const GateBlock<Bits> block{
              .rows = rows,
              .units = std::min(kPanel, hidden_ - unit),
              .products = products,
              .bias = gate_bias_.const_data_ptr<float>() + panel * contexts_ * kGateColumns,
              .context = scratch.context.const_data_ptr<int32_t>() + first,
              .stride = hidden_,
              .c = c + first * hidden_ + unit,
              .h = h + first * hidden_ + unit,
              .c_out = PartOf(observation_out.c, first, unit),
              .h_out = PartOf(observation_out.h, first, unit),
              .product_stride = output_inner_,
              .product_input = Pointer(scratch.output_input) + first * output_inner_ + unit};
          if constexpr (kBf16) {
            kernels_.gates_bf16(block);
          } else {
            kernels_.gates(block);
          }
        });
  }

  // In float32, as termination logits are.
  at::Tensor LinearReward(const at::Tensor& h) const {
    const int64_t rows = h.size(0);
    at::Tensor reward = at::empty({rows}, at::kFloat);
    at::parallel_for(0, rows, kRowsOfBlock, [&](int64_t begin, int64_t end) {
      kernels_.dot(end - begin, hidden_, h.const_data_ptr<float>() + begin * hidden_,
                   reward_weight_.const_data_ptr<float>(), reward_bias_,
                   reward.mutable_data_ptr<float>() + begin);
    });
    return reward;
  }

  // Inner size of a product. In bfloat16 products are of whole tiles: those of a size with a rest
  // take three times as long with AMX.
  static int64_t Padded(int64_t size) {
    constexpr int64_t kMultiple = kBf16 ? kAmxInner : 2;
    return (size + kMultiple - 1) / kMultiple * kMultiple;
  }

  static Bits* Pointer(const at::Tensor& tensor) {
    return reinterpret_cast<Bits*>(tensor.mutable_data_ptr<Element>());
  }

  void Convert(int64_t size, const float* from, Bits* to) const {
    if constexpr (kBf16) {
      kernels_.to_bf16(size, from, to);
    } else {
      std::memcpy(to, from, size * sizeof(float));
    }
  }

  int64_t latents_, hidden_;
  int64_t box_;           // numbers of an action in a box; 0: actions are numbered
  int64_t contexts_;      // 2 action + restart, without the action of a box
  int64_t inner_;         // latents + box + hidden, padded
  int64_t output_inner_;  // hidden, made even
  MemoryKernels kernels_;
  std::unique_ptr<const MixtureCpu<Element>> mixture_;
  PackedPanels<Element> gate_weight_;  // [hidden panels, 64, inner]
  at::Tensor gate_bias_;               // [hidden panels, contexts, 4, 16]
  std::optional<OutcomeCpu<Element>> outcome_;
  at::Tensor reward_weight_;  // [1, hidden]; undefined where no reward is linear in h
  float reward_bias_ = 0;
  mutable ScratchPool<Scratch> scratch_;
};

}  // namespace

std::unique_ptr<const FrozenMemory> MakeMemoryCpu(const MemoryWeights& weights,
                                                  at::ScalarType dtype) {
  if (dtype == at::kBFloat16) return std::make_unique<MemoryCpu<at::BFloat16>>(weights);
  return std::make_unique<MemoryCpu<float>>(weights);
}

}  // namespace genie_env
