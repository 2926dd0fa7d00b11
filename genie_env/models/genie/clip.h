#pragma once

#include <ATen/core/Tensor.h>

#include "genie_env/models/genie/sizes.h"

namespace genie_env {

/// uint8 [N, T, height, width, 3] to float32 of the same shape, in [-0.5, 0.5]. Throws
/// std::invalid_argument on another dtype or shape, no clip, or fewer than `least` frames.
/// network: its name in the error.
at::Tensor ClipPixels(const at::Tensor& frames, const ClipSizes& sizes, int64_t least,
                      const char* network);

/// [N, T, height, width, 3] to [N, T, S, patch * patch * 3], row by row; and back.
at::Tensor ToPatches(const at::Tensor& pixels, const ClipSizes& sizes);
at::Tensor FromPatches(const at::Tensor& patches, const ClipSizes& sizes);

/// uint8 of any shape as pixels in [-0.5, 0.5]; and back.
at::Tensor FromBytes(const at::Tensor& frames);
at::Tensor ToBytes(const at::Tensor& pixels);

/// The mean squared difference within each frame: [N, T, ...] twice to [N, T].
at::Tensor FrameErrors(const at::Tensor& a, const at::Tensor& b);

}  // namespace genie_env
