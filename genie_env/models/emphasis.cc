#include "genie_env/models/emphasis.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>

#include <cmath>
#include <stdexcept>

#include "genie_env/core/text.h"

namespace genie_env {

void CheckEmphasis(double emphasis) {
  if (!(emphasis >= 0) || !std::isfinite(emphasis)) {
    throw std::invalid_argument("emphasis is " + NumberText(emphasis) +
                                "; expected a finite number, 0 or more");
  }
}

at::Tensor Emphasis(const at::Tensor& frames, double emphasis) {
  const at::Tensor far =
      (frames - frames.mean(0, /*keepdim=*/true)).square_().mean(-1, /*keepdim=*/true);
  const at::Tensor mean = far.mean();
  // Of one frame, or of equal ones, no pixel is far: then all count alike.
  const at::Tensor relative = at::where(mean > 0, far / mean, at::ones_like(far));
  return (1 + emphasis * relative) / (1 + emphasis);
}

}  // namespace genie_env
