// Compiled in place of kernels/cuda/*.cu when there is no CUDA toolkit.
#include <stdexcept>

#include "genie_env/kernels/device_info.h"
#include "genie_env/kernels/maskgit_kernels.h"

namespace genie_env {

std::string CudaToolkitVersion() { return ""; }

std::vector<CudaDevice> CudaDevices() { return {}; }

void UnmaskOnGpu(const MaskGitPass& /*pass*/, void* /*stream*/) {
  throw std::runtime_error("this build of genie_env has no CUDA kernels");
}

}  // namespace genie_env
