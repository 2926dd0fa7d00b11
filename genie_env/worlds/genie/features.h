#pragma once

#include <ATen/core/Tensor.h>

#include "genie_env/models/genie/sizes.h"

namespace genie_env {

/// The features of a frame are means over four areas, the quarters of its grid of patches (of an
/// odd number of rows or columns the middle one belongs to both halves). float32 [4, S]: the weight
/// of each position in each mean, 0 outside the area.
at::Tensor FeatureAreas(const ClipSizes& clip);

}  // namespace genie_env
