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

#include "genie_env/kernels/cpu/packed_gemm.h"
#include "genie_env/tensor/gather_scatter.h"
#include "genie_env/tensor/scratch_pool.h"
#include "genie_env/worlds/vision_memory/frozen_memory.h"
#include "genie_env/worlds/vision_memory/memory_kernels.h"
#include "genie_env/worlds/vision_memory/outcome_cpu.h"

// A step has three parts. Each consists of tasks of (one panel of packed weights) x (one block of
// rows), the panel outermost, so that a core keeps a panel's weights in its cache:
//
//   1. Convert [z, h] of every row to the type of the products' input.
//   2. For a panel of 16 hidden units: multiply with [K, 4 gates x 16], then compute the LSTM's
//   cell.
//   3. For a panel of 16 latent dimensions: multiply with [hidden, 3 x 16] for every component,
//   then sample and score.
//
// Where M has a head, it judges what came out, in OutcomeCpu.
//
// M's inputs for a numbered action and restart have few values: their terms are added from a table
// together with the bias. An action in a box is part of the input: [z, action, h].

namespace genie_env {
namespace {

constexpr int64_t kRowsOfBlock = 64;
constexpr int64_t kGateColumns = 4 * kPanel;
constexpr int64_t kMixtureColumns = 3 * kPanel;
constexpr int64_t kTasksOfThread = 4;  // fewer are not worth waking another thread

int64_t Panels(int64_t size) { return (size + kPanel - 1) / kPanel; }

int64_t Blocks(int64_t rows) { return (rows + kRowsOfBlock - 1) / kRowsOfBlock; }

// Rows of a buffer for the products of `rows` rows.
int64_t PaddedRows(int64_t rows) {
  const int64_t last = (Blocks(rows) - 1) * kRowsOfBlock;
  return rows == 0 ? 0 : last + ProductRows(rows - last);
}

// Calls task(panel, first row, rows, products) for all tasks. products: a buffer for one block, of
// the calling thread.
template <typename Task>
void ForEachTask(int64_t panels, int64_t rows, bool bf16, int64_t columns, const Task& task) {
  const int64_t blocks = Blocks(rows);
  at::parallel_for(0, panels * blocks, kTasksOfThread, [&](int64_t begin, int64_t end) {
    const TileScope tiles{bf16};
    const at::Tensor products = at::empty({kRowsOfBlock, columns}, at::kFloat);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % blocks * kRowsOfBlock;
      task(i / blocks, first, std::min(kRowsOfBlock, rows - first),
           products.mutable_data_ptr<float>());
    }
  });
}

// The buffers of one step.
struct Scratch {
  at::Tensor input;         // [rows, inner]: [z, action of a box, h] in the products' type
  at::Tensor output_input;  // [rows, output inner]: the new h in the products' type
  at::Tensor context;       // int32 [rows]: the row of the gates' bias table
  at::Tensor surprise;      // float32 [rows, latent panels]
};

template <typename Element>  // float or at::BFloat16
class MemoryCpu final : public FrozenMemory {
 public:
  explicit MemoryCpu(const MemoryWeights& weights)
      : latents_(weights.latents),
        hidden_(weights.hidden()),
        components_(weights.components()),
        box_(weights.action_inputs.defined() ? 0 : weights.action_width()),
        contexts_(box_ > 0 ? 2 : 2 * weights.action_inputs.size(0)),
        inner_((latents_ + box_ + hidden_ + 1) / 2 * 2),
        output_inner_((hidden_ + 1) / 2 * 2),
        kernels_(SupportedMemoryKernels().back()) {
    const int64_t hidden_panels = Panels(hidden_), latent_panels = Panels(latents_);
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

    const int64_t mixture_size = 3 * latents_ * components_;
    const auto by_components = [&](const at::Tensor& mixture) {  // -> [panels, components, 48, S]
      return PadTo(mixture.narrow(0, 0, mixture_size).unflatten(0, {3, latents_, components_}), 1,
                   latent_panels * kPanel)
          .unflatten(1, {latent_panels, kPanel})
          .permute({1, 3, 0, 2, 4})
          .flatten(2, 3);
    };
    const at::Tensor output_weight = PadTo(weights.output_weight, 1, output_inner_);
    mixture_weight_ = PackedPanels<Element>(by_components(output_weight).flatten(0, 1));
    mixture_bias_ = by_components(weights.output_bias.unsqueeze(1)).contiguous();
    termination_weight_ = weights.output_weight[mixture_size].contiguous();
    termination_bias_ = weights.output_bias[mixture_size].item<float>();
    if (weights.outcome) outcome_.emplace(*weights.outcome);
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
    const int64_t latent_panels = Panels(latents_);
    MemoryOutcome outcome{at::empty({rows}, at::kFloat), at::empty({rows}, at::kFloat)};
    const auto fits = [&](const Scratch& used) { return used.input.size(0) >= padded; };
    Scratch scratch = scratch_.Take(fits, [&]() -> Scratch {
      return {.input = at::empty({padded, inner_}, kType),
              .output_input = at::empty({padded, output_inner_}, kType),
              .context = at::empty({padded}, at::kInt),
              .surprise = at::empty({padded, latent_panels}, at::kFloat)};
    });

    Assemble(state, actions, scratch);
    Recur(state, scratch, observation_out);
    if (next != nullptr) state.z.copy_(*next);
    Predict(state, draws, scratch, observation_out, outcome.termination_logit);
    if (outcome_) {
      if (outcome_->has_reward()) outcome.reward = at::empty({rows}, at::kFloat);
      outcome_->Judge(scratch.output_input, hidden_, state.z, outcome);
    }

    // What is not finite in z shows in the parts, and what is not in h in the logit.
    const float* parts = scratch.surprise.const_data_ptr<float>();
    const float* logit = outcome.termination_logit.const_data_ptr<float>();
    for (int64_t row = 0; row < rows; ++row, parts += latent_panels) {
      float sum = 0;
      for (int64_t panel = 0; panel < latent_panels; ++panel) sum += parts[panel];
      outcome.surprise.mutable_data_ptr<float>()[row] =
          sum / static_cast<float>(latents_) + 0 * logit[row];
    }
    scratch_.Give(std::move(scratch));
    return outcome;
  }

  void Assemble(const MemoryState& state, const at::Tensor& actions, const Scratch& scratch) const {
    const int64_t rows = state.z.size(0);
    const auto z = state.z.const_data_ptr<float>(), h = state.h.const_data_ptr<float>();
    const auto restart = state.restart.const_data_ptr<float>();
    const auto number = box_ > 0 ? nullptr : actions.const_data_ptr<int64_t>();
    const auto point = box_ > 0 ? actions.const_data_ptr<float>() : nullptr;
    const auto out = Pointer(scratch.input), out_hidden = Pointer(scratch.output_input);
    const auto contexts = scratch.context.mutable_data_ptr<int32_t>();
    at::parallel_for(0, PaddedRows(rows), kRowsOfBlock, [&](int64_t begin, int64_t end) {
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
        if (inner_ > latents_ + box_ + hidden_) x[inner_ - 1] = Bits{};
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

  void Predict(const MemoryState& state, const MixtureDraws* draws, const Scratch& scratch,
               const MemoryState& observation_out, const at::Tensor& termination_logit) const {
    const auto hidden = scratch.output_input.const_data_ptr<Element>();
    const int64_t panels = Panels(latents_), columns = components_ * kMixtureColumns;
    ForEachTask(
        panels, state.z.size(0), kBf16, columns,
        [&](int64_t panel, int64_t first, int64_t rows, float* products) {
          for (int64_t k = 0; k < components_; ++k) {
            mixture_weight_.Multiply(panel * components_ + k, ProductRows(rows),
                                     hidden + first * output_inner_, output_inner_,
                                     products + k * kMixtureColumns, columns);
          }
          const int64_t dimension = panel * kPanel, at = first * latents_ + dimension;
          MixtureBlock block{
              .rows = rows,
              .dimensions = std::min(kPanel, latents_ - dimension),
              .components = components_,
              .products = products,
              .bias = mixture_bias_.const_data_ptr<float>() + panel * columns,
              .temperature = nullptr,
              .stride = latents_,
              .uniform = nullptr,
              .normal = nullptr,
              .z = state.z.mutable_data_ptr<float>() + at,
              .z_out = PartOf(observation_out.z, first, dimension),
              .surprise_stride = panels,
              .surprise = scratch.surprise.mutable_data_ptr<float>() + first * panels + panel};
          if (draws != nullptr) {
            block.temperature = draws->temperature.const_data_ptr<float>() + first;
            block.uniform = draws->uniform.const_data_ptr<float>() + at;
            block.normal = draws->normal.const_data_ptr<float>() + at;
            kernels_.sample(block);
          } else {
            kernels_.score(block);
          }
          if (panel == 0) {
            kernels_.dot(rows, hidden_, state.h.const_data_ptr<float>() + first * hidden_,
                         termination_weight_.const_data_ptr<float>(), termination_bias_,
                         termination_logit.mutable_data_ptr<float>() + first);
          }
        });
  }

  static Bits* Pointer(const at::Tensor& tensor) {
    return reinterpret_cast<Bits*>(tensor.mutable_data_ptr<Element>());
  }

  static StridedRows PartOf(const at::Tensor& observation_out, int64_t row, int64_t column) {
    if (!observation_out.defined()) return {};
    return {observation_out.mutable_data_ptr<float>() + row * observation_out.stride(0) + column,
            observation_out.stride(0)};
  }

  void Convert(int64_t size, const float* from, Bits* to) const {
    if constexpr (kBf16) {
      kernels_.to_bf16(size, from, to);
    } else {
      std::memcpy(to, from, size * sizeof(float));
    }
  }

  int64_t latents_, hidden_, components_;
  int64_t box_;           // numbers of an action in a box; 0: actions are numbered
  int64_t contexts_;      // 2 action + restart, without the action of a box
  int64_t inner_;         // latents + box + hidden, made even
  int64_t output_inner_;  // hidden, made even
  MemoryKernels kernels_;
  PackedPanels<Element> gate_weight_;     // [hidden panels, 64, inner]
  at::Tensor gate_bias_;                  // [hidden panels, contexts, 4, 16]
  PackedPanels<Element> mixture_weight_;  // [latent panels x components, 48, output inner]
  at::Tensor mixture_bias_;               // [latent panels, components, 3, 16]
  at::Tensor termination_weight_;
  float termination_bias_ = 0;
  std::optional<OutcomeCpu<Element>> outcome_;
  mutable ScratchPool<Scratch> scratch_;
};

}  // namespace

std::unique_ptr<const FrozenMemory> MakeMemoryCpu(const MemoryWeights& weights,
                                                  at::ScalarType dtype) {
  if (dtype == at::kBFloat16) return std::make_unique<MemoryCpu<at::BFloat16>>(weights);
  return std::make_unique<MemoryCpu<float>>(weights);
}

}  // namespace genie_env
