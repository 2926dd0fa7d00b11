#pragma once

#include <ATen/core/Tensor.h>

namespace genie_env {

/// Throws std::invalid_argument unless `emphasis` is finite and at least 0.
void CheckEmphasis(double emphasis);

/// What the squared errors of frames, float [N, ..., 3] with colours last, are multiplied by:
/// [N, ..., 1]. It is (1 + emphasis * d / mean(d)) / (1 + emphasis), where d is the squared
/// distance of a pixel's colour from the mean colour of its place in the N frames, and the mean is
/// over all pixels: what moves counts more than what is always there, however small it is.
at::Tensor Emphasis(const at::Tensor& frames, double emphasis);

}  // namespace genie_env
