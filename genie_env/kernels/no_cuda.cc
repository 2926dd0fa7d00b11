// Compiled in place of kernels/cuda/*.cu when there is no CUDA toolkit.
#include "genie_env/kernels/device_info.h"

namespace genie_env {

std::string CudaToolkitVersion() { return ""; }

std::vector<CudaDevice> CudaDevices() { return {}; }

}  // namespace genie_env
