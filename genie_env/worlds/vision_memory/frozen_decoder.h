#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "genie_env/models/vision_memory/vision.h"

namespace genie_env {

/// The decoder of a frozen V. Immutable and thread-safe.
class FrozenDecoder {
 public:
  virtual ~FrozenDecoder() = default;

  /// Writes the frames of latents. z: float32 [N, latents]; frames: uint8 [N, H, W, 3]; both
  /// contiguous, on V's device.
  virtual void Decode(const at::Tensor& z, const at::Tensor& frames) const = 0;
};

/// Runs on the CPU with packed weights and kernels/. dtype: the type of the products' inputs, as
/// that of MakeMemoryCpu. The bits of a frame depend on its latents alone, as long as oneDNN may be
/// used.
std::unique_ptr<const FrozenDecoder> MakeDecoderCpu(const Vision& vision, at::ScalarType dtype);

/// Runs V itself, on any device. dtype: that of V's weights.
std::unique_ptr<const FrozenDecoder> MakeDecoderTorch(std::shared_ptr<const Vision> vision,
                                                      at::ScalarType dtype);

}  // namespace genie_env
