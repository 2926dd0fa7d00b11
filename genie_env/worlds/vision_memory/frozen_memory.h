#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

namespace genie_env {

/// The parameters of M (models/vision_memory/memory.h), float32 on the CPU, and what M sees of each
/// action.
struct MemoryWeights {
  at::Tensor weight_ih;      ///< [4 hidden, latents + 2]
  at::Tensor weight_hh;      ///< [4 hidden, hidden]
  at::Tensor bias;           ///< [4 hidden]
  at::Tensor output_weight;  ///< [3 latents components + 1, hidden]
  at::Tensor output_bias;    ///< [3 latents components + 1]
  at::Tensor action_inputs;  ///< [actions]

  int64_t latents() const { return weight_ih.size(1) - 2; }
  int64_t hidden() const { return weight_hh.size(1); }
  int64_t components() const { return (output_bias.size(0) - 1) / (3 * latents()); }
  int64_t actions() const { return action_inputs.size(0); }
};

/// What M reads and advances; float32, on its device. Handles to the tensors of a WorldState, or to
/// parts of an observation.
struct MemoryState {
  at::Tensor z;        ///< [N, latents]
  at::Tensor h;        ///< [N, hidden]
  at::Tensor c;        ///< [N, hidden]
  at::Tensor restart;  ///< [N]: 1 where the current frame is an episode's first
};

/// What decides the next z; float32, on M's device.
struct MixtureDraws {
  at::Tensor uniform;      ///< [N, latents]: which component, by inverse distribution function
  at::Tensor normal;       ///< [N, latents]: where within it
  at::Tensor temperature;  ///< [N]
};

struct MemoryOutcome {
  at::Tensor termination_logit;  ///< float32 [N]: whether this action ends the episode
  at::Tensor surprise;           ///< float32 [N]: -log p(next z) / latents, at temperature 1
};

/// M, frozen. Immutable and thread-safe. Arguments have been checked by the world, and are
/// contiguous unless it says otherwise. What it throws as std::invalid_argument it throws before it
/// writes; a failure of the machine, such as a lack of memory, may leave a state of PackMemory's
/// half advanced.
class FrozenMemory {
 public:
  virtual ~FrozenMemory() = default;

  /// Begins anew in `rows` (int64 [R], on the CPU) with frames of the given z: float32 [R,
  /// latents].
  virtual void Begin(const MemoryState& state, const at::Tensor& rows,
                     const at::Tensor& z) const = 0;

  /// Reads z, actions (int64 [N]) and restart; advances h and c; z becomes a draw from what M
  /// predicts: log weights divided by the temperature, the noise times its root. The new z, h and c
  /// are written to those of `seen` too, where they are defined: their rows may lie apart.
  virtual MemoryOutcome Dream(const MemoryState& state, const at::Tensor& actions,
                              const MixtureDraws& draws, const MemoryState& seen) const = 0;

  /// The same, but z becomes `next`: float32 [N, latents].
  virtual MemoryOutcome Follow(const MemoryState& state, const at::Tensor& actions,
                               const at::Tensor& next) const = 0;
};

/// On the CPU through packed weights and kernels/. dtype: at::kFloat, or at::kBFloat16 (the
/// matrix products' inputs; they add up in float32), which needs CanPackBf16(). A row's bits depend
/// on neither the batch size nor the row's position: always in bfloat16, and in float32 as long as
/// oneDNN may be used (without it, LibTorch takes another product for every size).
std::unique_ptr<const FrozenMemory> PackMemory(const MemoryWeights& weights, at::ScalarType dtype);

/// On any device, through LibTorch's operators alone. Writes when all is computed.
std::unique_ptr<const FrozenMemory> PlainMemory(const MemoryWeights& weights, at::Device device,
                                                at::ScalarType dtype);

}  // namespace genie_env
