#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace genie_env {

/// Where the latents lie that a world was trained on: their mean, and what makes their covariance
/// the identity. Immutable and thread-safe.
class Support {
 public:
  /// mean: float32 [D]; whitening: float32 [D, D], the inverse of the covariance's lower Cholesky
  /// factor (what is above its diagonal is not read).
  Support(const at::Tensor& mean, const at::Tensor& whitening);

  /// The Mahalanobis distance of each row from the mean. latents: float32 [N, D]; float32 [N], on
  /// its device. A row's bits depend on that row alone.
  at::Tensor Distance(const at::Tensor& latents) const;

 private:
  at::Tensor mean_;
  at::Tensor columns_;  ///< the whitening, transposed
};

/// Throws std::invalid_argument: the world called `name` has no statistics of its training latents.
[[noreturn]] void RefuseSupport(const std::string& name);

}  // namespace genie_env
