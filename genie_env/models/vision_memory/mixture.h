#pragma once

#include <ATen/core/Tensor.h>

namespace genie_env {

/// The negative log likelihood of `x` under mixtures of Gaussians (Bishop 1994; MixtureKind says
/// which), divided by the number of dimensions and summed over rows with `row_weight`: a scalar.
///
/// mixture: [M, (mixtures + 2 dimensions) * components], float32 or bfloat16. Side by side:
/// unnormalised log weights [components, mixtures], means and log standard deviations [components,
/// dimensions]. mixtures: one a dimension, or 1. x: float32 [M, dimensions]. row_weight: float32
/// [M]. Differentiable with respect to `mixture` alone. The gradient has a closed form and is
/// computed together with the value, a few rows at a time, so that it stays in the cache.
at::Tensor MixtureNegativeLogLikelihood(const at::Tensor& mixture, int64_t components,
                                        const at::Tensor& x, const at::Tensor& row_weight);

}  // namespace genie_env
