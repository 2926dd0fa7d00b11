#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>

namespace genie_env {

/// The type that WorldOptions::dtype names on `device`, or std::invalid_argument.
at::ScalarType ProductTypeOf(const std::string& name, at::Device device);

}  // namespace genie_env
