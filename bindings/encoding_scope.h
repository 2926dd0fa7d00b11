#pragma once

#include <c10/core/GradMode.h>

#include "genie_env/models/autocast.h"
#include "genie_env/models/model.h"

namespace genie_env {

/// The mode in which a network encodes, for a scope: no gradients, and bfloat16 autocast or float32
/// as given, whatever the caller's autocast.
class EncodingScope {
 public:
  EncodingScope(const Model& network, bool bf16)
      : autocast_(bf16, network.parameters().front().device().type()) {}

 private:
  c10::AutoGradMode no_gradients_{false};
  Bf16Scope autocast_;
};

}  // namespace genie_env
