#include <cuda_runtime.h>

#include <algorithm>

#include "genie_env/kernels/device_info.h"

namespace genie_env {

std::string CudaToolkitVersion() {
  return std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
}

std::vector<CudaDevice> CudaDevices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();  // no driver or no GPU; the error must not surface in a later call
    return {};
  }
  // Every architecture is compiled to PTX too, which the driver translates for newer GPUs.
  const int oldest = std::min({__CUDA_ARCH_LIST__}) / 10;
  std::vector<CudaDevice> devices;
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, index) != cudaSuccess) continue;
    const int capability = 10 * properties.major + properties.minor;
    devices.push_back({.name = properties.name,
                       .compute_capability = capability,
                       .memory_bytes = static_cast<int64_t>(properties.totalGlobalMem),
                       .runs_kernels = capability >= oldest});
  }
  return devices;
}

}  // namespace genie_env
