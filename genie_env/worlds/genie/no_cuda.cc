// Compiled in place of unmask.cu when there is no CUDA toolkit.
#include <stdexcept>

#include "genie_env/worlds/genie/unmask.h"

namespace genie_env {

void UnmaskOnGpu(const MaskGitPass& /*pass*/, void* /*stream*/) {
  throw std::runtime_error("this build of genie_env has no CUDA kernels");
}

}  // namespace genie_env
