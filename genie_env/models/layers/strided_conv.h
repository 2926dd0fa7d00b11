#pragma once

#include <ATen/core/Tensor.h>

namespace genie_env {

// Convolutions of stride 2 and their transposes, with gradients; pixels lie channels innermost: [N,
// H, W, channels]. In float32 on the CPU they are products and sums of our own (kernels/cpu),
// elsewhere LibTorch's.

/// max(conv2d(x), 0). weight: [out, in, kernel, kernel]; bias: [out].
at::Tensor RectifiedConvolution(const at::Tensor& x, const at::Tensor& weight,
                                const at::Tensor& bias);

/// conv_transpose2d(x), or max(that, 0). weight: [in, out, kernel, kernel]; bias: [out].
at::Tensor TransposedConvolution(const at::Tensor& x, const at::Tensor& weight,
                                 const at::Tensor& bias, bool rectified);

}  // namespace genie_env
