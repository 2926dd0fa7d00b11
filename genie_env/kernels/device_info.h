#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace genie_env {

/// One GPU of this machine.
struct CudaDevice {
  std::string name;            ///< for instance "NVIDIA H200"
  int compute_capability = 0;  ///< ten times it: 90 for 9.0
  int64_t memory_bytes = 0;    ///< total, not free
  bool runs_kernels = false;   ///< whether our kernels were compiled for it or an older one
};

/// The CUDA toolkit that compiled our own kernels, for instance "13.0"; empty when this build has
/// none. (Then a world of vision and memory still runs on a GPU, through LibTorch; Genie does not.)
std::string CudaToolkitVersion();

/// The GPUs in the driver's order; empty without a GPU, a driver, or CUDA kernels in this build.
/// Asks the driver only: no context is created on any of them.
std::vector<CudaDevice> CudaDevices();

}  // namespace genie_env
