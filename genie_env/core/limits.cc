#include "genie_env/core/limits.h"

#include <stdexcept>

namespace genie_env {

void CheckSize(const std::string& name, int64_t size, int64_t most, int64_t least) {
  if (size >= least && size <= most) return;
  throw std::invalid_argument(name + " is " + std::to_string(size) + ", expected " +
                              std::to_string(least) + " to " + std::to_string(most));
}

}  // namespace genie_env
