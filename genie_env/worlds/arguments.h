#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <string>

#include "genie_env/nn/check_tensor.h"

namespace genie_env {

/// int64 [R] with 0 <= row < count, or std::invalid_argument. Returns a contiguous copy or view of
/// it on the CPU.
at::Tensor CheckRows(const at::Tensor& rows, const char* name, int64_t count);

/// Throws std::invalid_argument unless it is above 0 and float32 holds it in full precision (then
/// its inverse is finite too). `name` is what the error calls it.
void CheckTemperature(double temperature, const std::string& name);

/// While it lives, this thread computes as a frozen world does: without gradients, and in the
/// world's own precision whatever autocast region the caller is in. Nor does it stay in the
/// caller's torch.inference_mode: no caller could train on observations made there, and a state
/// made outside could not be written.
class FrozenScope {
 private:
  c10::InferenceMode no_inference_{false};  // first: it switches gradients on
  c10::AutoGradMode no_gradients_{false};
  c10::impl::ExcludeDispatchKeyGuard no_autocast_{c10::autocast_dispatch_keyset};
};

}  // namespace genie_env
