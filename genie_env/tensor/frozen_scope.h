#pragma once

#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace genie_env {

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
