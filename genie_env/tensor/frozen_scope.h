#pragma once

#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace genie_env {

/// The mode in which this thread computes a frozen world, for the scope: without gradients, and in
/// the world's own precision whatever autocast region the caller is in. It also leaves the caller's
/// torch.inference_mode: nobody could train on observations made there, and a state made outside
/// could not be written.
class FrozenScope {
 private:
  c10::InferenceMode no_inference_{false};  // first: it switches gradients on
  c10::AutoGradMode no_gradients_{false};
  c10::impl::ExcludeDispatchKeyGuard no_autocast_{c10::autocast_dispatch_keyset};
};

}  // namespace genie_env
