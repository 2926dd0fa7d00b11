#pragma once

#include "genie_env/core/spec.h"
#include "genie_env/io/json_fields.h"

namespace genie_env {

/// The field "actions" of a world's config.json: {"type": "discrete", "meanings": ["left", ...],
/// "start": 0} or {"type": "box", "shape": [2], "low": [-1, -1], "high": [1, 1]}, the bounds in
/// row-major order. Throws FormatError naming the field.
ActionSpec ParseActions(const JsonFields& actions);

}  // namespace genie_env
