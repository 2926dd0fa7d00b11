#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "genie_env/models/genie/dynamics.h"
#include "genie_env/models/genie/tokenizer.h"
#include "genie_env/worlds/genie/mask_schedule.h"

namespace genie_env {

/// The parameters of tokenizer and dynamics by name, float32 on the CPU, and how tokens are
/// unmasked.
struct GenieWeights {
  TokenizerSizes tokenizer_sizes;
  DynamicsSizes dynamics_sizes;
  TensorMap tokenizer;
  TensorMap dynamics;
  at::Tensor action_codes;  ///< float32 [actions, C]
  UnmaskOrder order = UnmaskOrder::kConfidence;
};

/// The state that the networks read and advance, on their device: handles to the tensors of a
/// WorldState. A KV cache holds the keys and values of the last window - 1 frames in the type of
/// the products: [N, blocks, 2, S, window - 1, width]. It is a ring buffer: frame t of a row is in
/// slot t % (window - 1). The next frame of a row attends to the slots that its time has filled, so
/// setting the time to 0 starts a new episode.
///
/// A frame's features are what the last block's attention over time reads when the frame enters the
/// KV cache (its normalised input: what keys and values are made of, the last that the dynamics
/// learned to say of a clean frame), averaged over the quarters of the frame (see features.h), side
/// by side. They cost no product.
struct GenieState {
  at::Tensor tokens;            ///< int64 [N, S]: the current frame
  at::Tensor time;              ///< int64 [N]: frames in the history of the dynamics
  at::Tensor kv_cache;          ///< of the dynamics
  at::Tensor encoder_time;      ///< int64 [N]: frames in the history of the tokenizer's encoder;
                                ///< it is 0 after a dreamt frame, which the encoder does not read
  at::Tensor encoder_kv_cache;  ///< of the tokenizer's encoder
  at::Tensor features;          ///< float32 [N, 4 width]: of the current frame
};

/// Random numbers and temperatures of the next frame; float32, on the device.
struct FrameDraws {
  at::Tensor uniform;      ///< [N, S]: chooses the code by the inverse distribution function
  at::Tensor order;        ///< [N, S]: the largest is unmasked first; undefined unless the order
                           ///< is random
  at::Tensor temperature;  ///< [N]
};

/// A frozen tokenizer and dynamics. Immutable and thread-safe. The world checks the arguments; all
/// are contiguous. std::invalid_argument is thrown before anything is written. A failure of the
/// machine may leave a state half advanced.
class FrozenGenie {
 public:
  virtual ~FrozenGenie() = default;

  /// Starts a new history in `rows` (int64 [R], on the CPU) with a frame of tokens: int64 [R, S].
  virtual void Begin(const GenieState& state, const at::Tensor& rows,
                     const at::Tensor& tokens) const = 0;

  /// Starts a new history in `rows` with frames: uint8 [R, H, W, 3].
  virtual void BeginFrames(const GenieState& state, const at::Tensor& rows,
                           const at::Tensor& frames) const = 0;

  /// Samples the next frame of every row. actions: int64 [N]. Returns the surprise, float32 [N]:
  /// -ln of the probability of the frame's tokens at temperature 1, divided by their number.
  virtual at::Tensor Dream(const GenieState& state, const at::Tensor& actions,
                           const FrameDraws& draws) const = 0;

  /// Takes the next frame of every row from `frames`: uint8 [N, H, W, 3]. Returns their surprise.
  /// order: see FrameDraws.
  virtual at::Tensor Follow(const GenieState& state, const at::Tensor& actions,
                            const at::Tensor& frames, const at::Tensor& order) const = 0;

  /// Decodes tokens, int64 [R, S], to frames, uint8 [R, H, W, 3]. They may be written to `out`,
  /// where it is defined.
  virtual at::Tensor Decode(const at::Tensor& tokens, const at::Tensor& out = {}) const = 0;
};

/// Runs on the CPU from packed weights (transformer_cpu.h). dtype: at::kFloat, or at::kBFloat16,
/// which needs CanPackBf16(). A row's bits depend on neither the batch size nor its position.
std::unique_ptr<const FrozenGenie> MakeGenieCpu(const GenieWeights& weights, at::ScalarType dtype);

/// Runs on any device: all rows at once through LibTorch's operators, and the passes of MaskGIT
/// through worlds/genie/unmask.h. Dream, Follow and Decode never wait for the device.
std::unique_ptr<const FrozenGenie> MakeGenieTorch(const GenieWeights& weights, at::Device device,
                                                  at::ScalarType dtype);

}  // namespace genie_env
