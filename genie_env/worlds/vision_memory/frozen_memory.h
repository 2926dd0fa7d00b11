#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>

#include "genie_env/models/vision_memory/sizes.h"
#include "genie_env/worlds/outcome_weights.h"

namespace genie_env {

/// The parameters of M (models/vision_memory/memory.h). All are float32 on the CPU.
struct MemoryWeights {
  int64_t latents = 0;
  MixtureKind mixture = MixtureKind::kIndependent;
  at::Tensor weight_ih;      ///< [4 hidden, latents + A + 1]
  at::Tensor weight_hh;      ///< [4 hidden, hidden]
  at::Tensor bias;           ///< [4 hidden]
  at::Tensor output_weight;  ///< [sizes().output(), hidden]
  at::Tensor output_bias;    ///< [sizes().output()]
  at::Tensor
      action_inputs;  ///< [actions, A]: what M reads of each; undefined: actions are in a box
  std::optional<OutcomeWeights> outcome = std::nullopt;  ///< of (h, the next z)
  at::Tensor reward_weight = {};  ///< [1, hidden]: of a reward that is linear in h; else undefined
  at::Tensor reward_bias = {};    ///< [1]

  /// As the tensors' shapes say; `actions` is A.
  MemorySizes sizes() const {
    MemorySizes found{.latents = latents,
                      .hidden = weight_hh.size(1),
                      .components = 1,
                      .actions = weight_ih.size(1) - latents - 1,
                      .mixture = mixture};
    found.components = (output_bias.size(0) - 1) / (found.output() - 1);
    return found;
  }
};

/// The state that M reads and advances: float32, on M's device. Handles to the tensors of a
/// WorldState, or to parts of an observation.
struct MemoryState {
  at::Tensor z;        ///< [N, latents]
  at::Tensor h;        ///< [N, hidden]
  at::Tensor c;        ///< [N, hidden]
  at::Tensor restart;  ///< [N]: 1 where the current frame is an episode's first
};

/// Random numbers and temperatures of the next z; float32, on M's device.
struct MixtureDraws {
  at::Tensor uniform;      ///< [N, mixtures]: chooses the component by the inverse distribution
                           ///< function
  at::Tensor normal;       ///< [N, latents]: the noise within the component
  at::Tensor temperature;  ///< [N]
  /// For MakeMemoryCpu alone: writes rows begin .. end - 1 of uniform and normal. Dream then
  /// calls it once for each row, from any thread. Null: they have been written.
  std::function<void(int64_t begin, int64_t end)> draw = nullptr;
};

struct MemoryOutcome {
  at::Tensor termination_logit;  ///< float32 [N]: of the end of the episode by this action
  at::Tensor surprise;           ///< float32 [N]: -log p(next z) / latents, at temperature 1; not
                                 ///< finite where the new z or h is not
  at::Tensor reward = {};        ///< float32 [N]; undefined where M does not learn rewards
};

/// A frozen M. Actions are int64 [N], counted from 0, or, in a box, float32 [N, A] in [-1, 1].
/// Immutable and thread-safe. The world checks the arguments; they are contiguous
/// unless a comment says otherwise. std::invalid_argument is thrown before anything is written. A
/// failure of the machine, such as a lack of memory, may leave the state half advanced
/// (MakeMemoryCpu).
class FrozenMemory {
 public:
  virtual ~FrozenMemory() = default;

  /// Starts new episodes in `rows` (int64 [R], on the CPU) with frames of the given z: float32 [R,
  /// latents].
  virtual void Begin(const MemoryState& state, const at::Tensor& rows,
                     const at::Tensor& z) const = 0;

  /// Reads z, actions and restart, advances h and c, and replaces z by a draw from the
  /// mixture that M predicts: log weights are divided by the temperature, the noise is multiplied
  /// by its root. The new z, h and c are also written to the tensors of `observation_out` that are
  /// defined; their rows need not be contiguous.
  virtual MemoryOutcome Dream(const MemoryState& state, const at::Tensor& actions,
                              const MixtureDraws& draws,
                              const MemoryState& observation_out) const = 0;

  /// The same, but z is replaced by `next`: float32 [N, latents].
  virtual MemoryOutcome Follow(const MemoryState& state, const at::Tensor& actions,
                               const at::Tensor& next) const = 0;
};

/// Runs on the CPU with packed weights and kernels/. dtype: the type of the matrix products'
/// inputs, at::kFloat, or at::kBFloat16, which needs CanPackBf16(); they accumulate in float32. A
/// row's bits depend on neither the batch size nor the row's position: always in bfloat16, and in
/// float32 as long as oneDNN may be used (without it, LibTorch uses another product for every
/// size).
std::unique_ptr<const FrozenMemory> MakeMemoryCpu(const MemoryWeights& weights,
                                                  at::ScalarType dtype);

/// Runs on any device through LibTorch's operators alone. Writes after all is computed.
std::unique_ptr<const FrozenMemory> MakeMemoryTorch(const MemoryWeights& weights, at::Device device,
                                                    at::ScalarType dtype);

}  // namespace genie_env
