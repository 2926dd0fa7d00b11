#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>

namespace genie_env {

/// The same to the bit (tolerance 0), or within the tolerance of another batch: pixels by one
/// level.
inline bool Alike(const at::Tensor& a, const at::Tensor& b, double tolerance) {
  if (tolerance == 0 || a.scalar_type() == at::kBool || a.scalar_type() == at::kLong) {
    return at::equal(a, b);
  }
  if (a.scalar_type() != at::kByte) return at::allclose(a, b, tolerance, tolerance);
  return at::allclose(a.to(at::kFloat), b.to(at::kFloat), /*rtol=*/0, /*atol=*/1);
}

}  // namespace genie_env
