#pragma once

#include <ATen/core/Tensor.h>

namespace genie_env {

/// The negative log likelihood of `x` under mixtures of Gaussians (Bishop 1994), a mixture a
/// dimension, averaged over dimensions and summed over rows with `row_weight`: a scalar.
///
/// mixture: [M, 3, components, dimensions], float32 or bfloat16: unnormalised log weights, means,
/// log standard deviations. x: float32 [M, dimensions]. row_weight: float32 [M]. Differentiable
/// with respect to `mixture` alone. The gradient has a closed form and is computed together with
/// the value, a few rows at a time, so that it stays in the cache.
at::Tensor MixtureNegativeLogLikelihood(const at::Tensor& mixture, const at::Tensor& x,
                                        const at::Tensor& row_weight);

}  // namespace genie_env
