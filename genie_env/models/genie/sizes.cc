#include "genie_env/models/genie/sizes.h"

#include <stdexcept>
#include <string>

#include "genie_env/core/limits.h"

namespace genie_env {

void ClipSizes::Check() const {
  CheckSize("height", height, kMaxFrameSide);
  CheckSize("width", width, kMaxFrameSide);
  if (patch < 1 || height < patch || width < patch || height % patch != 0 || width % patch != 0) {
    throw std::invalid_argument("frames of " + std::to_string(height) + " x " +
                                std::to_string(width) + " cannot be cut into patches of " +
                                std::to_string(patch) + " x " + std::to_string(patch) +
                                "; expected a patch that divides height and width");
  }
  CheckSize("the number of patches a frame", positions(), kMaxPositions);
}

void BlockSizes::Check() const {
  CheckSize("width", width, kMaxWidth);
  CheckSize("heads", heads, kMaxWidth);
  if (width % heads != 0 || head() % 2 != 0) {
    throw std::invalid_argument("width is " + std::to_string(width) + " and heads is " +
                                std::to_string(heads) +
                                "; expected a width that is an even number times the heads");
  }
}

}  // namespace genie_env
