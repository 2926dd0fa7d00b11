#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace genie_env {

/// Gets a tensor that a step may be without: Python sees None then.
template <typename Step>
auto OrNone(at::Tensor Step::*tensor) {
  return [tensor](const Step& step) {
    return (step.*tensor).defined() ? std::optional(step.*tensor) : std::nullopt;
  };
}

}  // namespace genie_env
