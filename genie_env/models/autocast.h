#pragma once

#include <ATen/autocast_mode.h>

namespace genie_env {

/// bfloat16 autocast for a scope. Nests, and restores what was before. Autocast keeps the weights
/// that it has cast until the outermost scope ends, the caller's own too; they would be used again
/// after an update, and those cast without gradients where gradients are wanted. So every scope
/// begins and ends with none.
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
