#pragma once

#include <ATen/core/Tensor.h>

namespace genie_env {

/// GELU in its tanh form, with gradients. In float32 on the CPU it is ours (kernels/cpu), elsewhere
/// LibTorch's.
at::Tensor Gelu(const at::Tensor& x);

}  // namespace genie_env
