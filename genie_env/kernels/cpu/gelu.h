#pragma once

#include "genie_env/kernels/cpu/lanes.h"

namespace genie_env {

/// gelu(x) / x, in its tanh form (Hendrycks and Gimpel 2016): (1 + tanh(u)) / 2 = 1 / (1 +
/// exp(-2u)) with u = sqrt(2 / pi) (x + 0.044715 x^3).
template <typename Number>
GENIE_ENV_INLINE Number GeluShare(Number x) {
  return 1.0f / (1.0f + Exp(x * (-1.5957691216f - 0.0713548163f * x * x)));
}

/// gelu'(x) = s + x s (1 - s) 2u', with s the share.
template <typename Number>
GENIE_ENV_INLINE Number GeluSlope(Number x) {
  // Beyond 10 the slope is 0 or 1; x^3 would overflow.
  x = Min(Max(x, Number{} - 10.0f), Number{} + 10.0f);
  const Number share = GeluShare(x);
  return share + x * share * (1.0f - share) * (1.5957691216f + 0.2140644489f * x * x);
}

}  // namespace genie_env
