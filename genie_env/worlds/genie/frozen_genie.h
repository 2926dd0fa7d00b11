#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "genie_env/models/genie/dynamics.h"
#include "genie_env/models/genie/tokenizer.h"
#include "genie_env/worlds/genie/mask_schedule.h"

namespace genie_env {

/// What tokenizer and dynamics have learned: their parameters by name, float32 on the CPU.
struct GenieWeights {
  TokenizerSizes tokenizer_sizes;
  DynamicsSizes dynamics_sizes;
  TensorMap tokenizer;
  TensorMap dynamics;
  at::Tensor action_codes;  ///< float32 [actions, C]
  UnmaskOrder order = UnmaskOrder::kConfidence;
};

/// What the networks read and advance, on their device. Handles to the tensors of a WorldState.
/// The rings hold keys and values of the last frames, in the type of the products: [N, blocks, 2,
/// S, window - 1, width]; frame t of a row is in slot t % (window - 1). A row's next frame sees the
/// frames that its time has passed, so that a row begins anew by setting its time to 0.
struct GenieState {
  at::Tensor tokens;     ///< int64 [N, S], of the current frame
  at::Tensor time;       ///< int64 [N]: frames that the dynamics have seen
  at::Tensor past;       ///< the dynamics' ring
  at::Tensor eyes_time;  ///< int64 [N]: frames that the tokenizer's encoder has seen, one after the
                         ///< other up to the current one; 0 after a dreamt frame
  at::Tensor eyes_past;  ///< the encoder's ring
};

/// What decides the next frame; float32, on the device.
struct FrameDraws {
  at::Tensor uniform;      ///< [N, S]: which code, by inverse distribution function
  at::Tensor order;        ///< [N, S]: the largest first; undefined unless the order is random
  at::Tensor temperature;  ///< [N]
};

/// Tokenizer and dynamics, frozen. Immutable and thread-safe. Arguments have been checked by the
/// world; all are contiguous. What it throws as std::invalid_argument it throws before it writes;
/// a failure of the machine may leave a state half advanced.
class FrozenGenie {
 public:
  virtual ~FrozenGenie() = default;

  /// Begins anew with a frame of the given tokens (int64 [R, S]) in `rows` (int64 [R], on the CPU).
  virtual void Begin(const GenieState& state, const at::Tensor& rows,
                     const at::Tensor& tokens) const = 0;

  /// The same with frames: uint8 [R, H, W, 3].
  virtual void BeginFrames(const GenieState& state, const at::Tensor& rows,
                           const at::Tensor& frames) const = 0;

  /// One frame is dreamt in every row. actions: int64 [N]. Returns float32 [N]: -ln of the
  /// probability of its tokens at temperature 1, over their number.
  virtual at::Tensor Dream(const GenieState& state, const at::Tensor& actions,
                           const FrameDraws& draws) const = 0;

  /// The same with frames that are given: uint8 [N, H, W, 3]. `order` as in FrameDraws.
  virtual at::Tensor Follow(const GenieState& state, const at::Tensor& actions,
                            const at::Tensor& frames, const at::Tensor& order) const = 0;

  /// tokens: int64 [R, S] to frames: uint8 [R, H, W, 3].
  virtual at::Tensor Decode(const at::Tensor& tokens) const = 0;
};

/// On the CPU, from packed weights: see packed_transformer.h. dtype: at::kFloat, or at::kBFloat16,
/// which needs CanPackBf16(). A row's bits depend on neither the batch size nor its position.
std::unique_ptr<const FrozenGenie> PackGenie(const GenieWeights& weights, at::ScalarType dtype);

/// On any device: all rows at once through LibTorch's operators, and the passes of MaskGIT through
/// worlds/genie/unmask.h. Dream, Follow and Decode never wait for the device.
std::unique_ptr<const FrozenGenie> PlainGenie(const GenieWeights& weights, at::Device device,
                                              at::ScalarType dtype);

}  // namespace genie_env
