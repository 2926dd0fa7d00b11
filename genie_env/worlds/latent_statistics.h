#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "genie_env/worlds/world_directory.h"

namespace genie_env {

/// Where the latents lie that a world was trained on: their mean, and what makes their covariance
/// the identity. Immutable and thread-safe.
class LatentStatistics {
 public:
  /// mean: float32 [D]; whitening: float32 [D, D], the inverse of the covariance's lower Cholesky
  /// factor (what is above its diagonal is not read).
  LatentStatistics(const at::Tensor& mean, const at::Tensor& whitening);

  /// The Mahalanobis distance of each row from the mean. latents: float32 [N, D]; float32 [N], on
  /// its device. A row's bits depend on that row alone.
  at::Tensor Distance(const at::Tensor& latents) const;

 private:
  at::Tensor mean_;
  at::Tensor columns_;  ///< the whitening, transposed
};

/// Adds the names and shapes of the statistics of latents of `size` to those of the tensors that a
/// world's weights must hold, where they hold them: not in worlds that were frozen before they were
/// written.
void ExpectLatentStatistics(const WorldDirectory& directory, int64_t size,
                            std::map<std::string, std::vector<int64_t>>& shapes);

/// What these tensors say of it; empty without them.
std::optional<LatentStatistics> LatentStatisticsOf(
    const std::map<std::string, at::Tensor>& tensors);

/// Throws std::invalid_argument: the world called `name` has no statistics of its training latents.
[[noreturn]] void ThrowNoLatentStatistics(const std::string& name);

}  // namespace genie_env
