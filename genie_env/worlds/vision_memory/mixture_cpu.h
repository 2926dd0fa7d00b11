#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "genie_env/kernels/cpu/packed_gemm.h"
#include "genie_env/worlds/vision_memory/frozen_memory.h"
#include "genie_env/worlds/vision_memory/memory_kernels.h"

namespace genie_env {

/// What a mixture keeps between the parts of a step.
struct MixtureScratch {
  at::Tensor parts;      ///< float32 [padded rows, P]: of which Surprise makes one number a row
  at::Tensor component;  ///< int32 [padded rows]: what rows draw from; of a joint mixture alone
};

/// The arguments of MixtureCpu::Predict.
struct MixtureStep {
  const at::Tensor& hidden;  ///< [padded rows, hidden, made even]: the new h in the products' type
  const MemoryState& state;  ///< the new h; z is replaced, or already given where `draws` is null
  const MixtureDraws* draws;
  const MemoryState& observation_out;   ///< where it has a z, a second copy is written there
  const MixtureScratch& scratch;        ///< written
  const at::Tensor& termination_logit;  ///< float32 [N]: written
};

/// M's output layer on the CPU, with packed weights: a mixture, which is sampled and scored, and
/// the termination logit. One class for each MixtureKind. Immutable and thread-safe; a row's bits
/// depend on that row alone.
template <typename Element>  // float or at::BFloat16
class MixtureCpu {
 public:
  virtual ~MixtureCpu() = default;

  virtual MixtureScratch MakeScratch(int64_t padded_rows) const = 0;

  virtual void Predict(const MixtureStep& step) const = 0;

  /// Writes -log p(z) / latents of every row: float32 [N].
  virtual void Surprise(const MixtureScratch& scratch, const at::Tensor& surprise) const = 0;

 protected:
  explicit MixtureCpu(const MemoryWeights& weights);

  /// Writes the termination logits of a block of rows.
  void Terminate(const MixtureStep& step, int64_t first, int64_t rows) const;

  MemorySizes sizes_;
  MemoryKernels kernels_;
  at::Tensor termination_weight_;
  float termination_bias_ = 0;
};

/// The one that the weights are of.
template <typename Element>
std::unique_ptr<const MixtureCpu<Element>> MakeMixtureCpu(const MemoryWeights& weights);

}  // namespace genie_env
