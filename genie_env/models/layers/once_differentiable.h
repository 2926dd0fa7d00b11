#pragma once

#include <c10/core/GradMode.h>

#include <stdexcept>
#include <string>

namespace genie_env {

/// To be called by backward functions that have no derivative of their own. Throws
/// std::invalid_argument where one is asked for. layers: in the plural, for the message.
inline void RefuseSecondDerivative(const std::string& layers) {
  if (!c10::GradMode::is_enabled()) return;
  throw std::invalid_argument("create_graph is true, but " + layers +
                              " in float32 on the CPU can be differentiated once only");
}

}  // namespace genie_env
