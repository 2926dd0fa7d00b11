#pragma once

#include <ATen/autocast_mode.h>

namespace genie_env {

/// bfloat16 autocast for a scope. Scopes nest and restore the state before them. Autocast caches
/// cast weights until the outermost scope ends, which may be the caller's: stale weights after an
/// update, or weights without gradients. So every scope clears the cache at its beginning and end.
class Bf16Scope {
 public:
  Bf16Scope(bool enabled, at::DeviceType device)
      : device_(device),
        was_enabled_(at::autocast::is_autocast_enabled(device)),
        old_dtype_(at::autocast::get_autocast_dtype(device)) {
    at::autocast::clear_cache();
    at::autocast::increment_nesting();
    at::autocast::set_autocast_enabled(device, enabled);
    if (enabled) {
      at::autocast::set_autocast_dtype(device, at::kBFloat16);
    }
  }
  ~Bf16Scope() {
    at::autocast::decrement_nesting();
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, was_enabled_);
    at::autocast::set_autocast_dtype(device_, old_dtype_);
  }
  Bf16Scope(const Bf16Scope&) = delete;
  Bf16Scope& operator=(const Bf16Scope&) = delete;

 private:
  at::DeviceType device_;
  bool was_enabled_;
  at::ScalarType old_dtype_;
};

}  // namespace genie_env
