#pragma once

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>

#include "genie_env/kernels/cpu/packed_gemm.h"
#include "genie_env/worlds/vision_memory/frozen_memory.h"
#include "genie_env/worlds/vision_memory/memory_kernels.h"

namespace genie_env {

/// M's head (models/layers/outcome.h) on the CPU, with packed weights. A task is a block of
/// rows: its input, units and outputs stay in the cache of a core.
template <typename Element>  // float or at::BFloat16
class OutcomeCpu {
 public:
  static constexpr int64_t kRowsOfBlock = 64;

  explicit OutcomeCpu(const OutcomeWeights& weights)
      : units_(Rounded(weights.units_weight.size(0))),
        inner_(Rounded(weights.units_weight.size(1))),
        outputs_(Rounded(weights.output_weight.size(0))),
        bins_(weights.bins()),
        termination_(weights.termination()),
        units_weight_(Packed(weights.units_weight, units_, inner_)),
        units_bias_(PadTo(weights.units_bias, 0, units_)),
        output_weight_(Packed(weights.output_weight, outputs_, units_)),
        output_bias_(weights.output_bias.contiguous()),
        kernels_(SupportedMemoryKernels().back()) {
    if (bins_ > 0) reward_bins_ = weights.reward_bins.contiguous();
  }

  bool has_reward() const { return bins_ > 0; }

  /// hidden: [padded rows, stride] in the products' type, of which `hidden_size` numbers a row are
  /// h; z: float32 [N, latents]. Adds to outcome.termination_logit and writes outcome.reward,
  /// float32 [N].
  void Judge(const at::Tensor& hidden, int64_t hidden_size, const at::Tensor& z,
             const MemoryOutcome& outcome) const {
    const int64_t rows = z.size(0), blocks = (rows + kRowsOfBlock - 1) / kRowsOfBlock;
    at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      const TileScope tiles{kIsBf16<Element>};
      const at::Tensor input = at::zeros({kRowsOfBlock, inner_}, kTypeOf<Element>);
      const at::Tensor products = at::empty({kRowsOfBlock, std::max(units_, outputs_)}, at::kFloat);
      const at::Tensor units = at::empty({kRowsOfBlock, units_}, kTypeOf<Element>);
      for (int64_t block = begin; block < end; ++block) {
        const int64_t first = block * kRowsOfBlock, count = std::min(kRowsOfBlock, rows - first);
        Assemble(hidden, hidden_size, z, first, count, input);
        units_weight_.Multiply(0, ProductRows(count), input.const_data_ptr<Element>(), inner_,
                               products.mutable_data_ptr<float>(), units_);
        Rectify(count, products, units);
        output_weight_.Multiply(0, ProductRows(count), units.const_data_ptr<Element>(), units_,
                                products.mutable_data_ptr<float>(), outputs_);
        Read(first, count, products.const_data_ptr<float>(), outcome);
      }
    });
  }

 private:
  using Bits = BitsOf<Element>;

  static int64_t Rounded(int64_t size) { return (size + kPanel - 1) / kPanel * kPanel; }

  static PackedPanels<Element> Packed(const at::Tensor& weight, int64_t outputs, int64_t inputs) {
    return PackedPanels<Element>(PadTo(PadTo(weight, 0, outputs), 1, inputs).unsqueeze(0));
  }

  static Bits* Pointer(const at::Tensor& tensor) {
    return reinterpret_cast<Bits*>(tensor.mutable_data_ptr<Element>());
  }

  void Assemble(const at::Tensor& hidden, int64_t hidden_size, const at::Tensor& z, int64_t first,
                int64_t count, const at::Tensor& input) const {
    const int64_t stride = hidden.size(1), latents = z.size(1);
    for (int64_t row = 0; row < count; ++row) {
      Bits* x = Pointer(input) + row * inner_;
      std::memcpy(x, Pointer(hidden) + (first + row) * stride, hidden_size * sizeof(Bits));
      const float* next = z.const_data_ptr<float>() + (first + row) * latents;
      if constexpr (kIsBf16<Element>) {
        kernels_.to_bf16(latents, next, x + hidden_size);
      } else {
        std::memcpy(x + hidden_size, next, latents * sizeof(float));
      }
    }
  }

  void Rectify(int64_t count, const at::Tensor& products, const at::Tensor& units) const {
    const float* sums = products.const_data_ptr<float>();
    const float* bias = units_bias_.template const_data_ptr<float>();
    if constexpr (kIsBf16<Element>) {
      kernels_.rectify_bf16(count, units_, sums, bias, Pointer(units));
    } else {
      kernels_.rectify(count, units_, sums, bias, Pointer(units));
    }
  }

  void Read(int64_t first, int64_t count, const float* outputs,
            const MemoryOutcome& outcome) const {
    const float* bias = output_bias_.template const_data_ptr<float>();
    if (termination_) {
      float* logit = outcome.termination_logit.mutable_data_ptr<float>() + first;
      for (int64_t row = 0; row < count; ++row) {
        logit[row] += outputs[row * outputs_ + bins_] + bias[bins_];
      }
    }
    if (bins_ == 0) return;
    kernels_.expect(count, bins_, outputs, outputs_, bias,
                    reward_bins_.template const_data_ptr<float>(),
                    outcome.reward.mutable_data_ptr<float>() + first);
  }

  int64_t units_, inner_, outputs_;  // made whole panels
  int64_t bins_;
  bool termination_;
  PackedPanels<Element> units_weight_;  // [1, units, inner]
  at::Tensor units_bias_;
  PackedPanels<Element> output_weight_;  // [1, outputs, units]
  at::Tensor output_bias_;               // [outputs], without padding
  at::Tensor reward_bins_;               // undefined where rewards are not learned
  MemoryKernels kernels_;
};

}  // namespace genie_env
