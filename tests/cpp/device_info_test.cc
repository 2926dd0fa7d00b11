#include "genie_env/kernels/device_info.h"

#include <gtest/gtest.h>

namespace genie_env {
namespace {

TEST(DeviceInfo, NamesTheToolkitOrNone) {
  const std::string version = CudaToolkitVersion();
  if (version.empty()) GTEST_SKIP() << "this build has no CUDA kernels";
  EXPECT_GE(std::stod(version), 12) << version;
}

TEST(DeviceInfo, ListsNoGpuWithoutKernels) {
  if (!CudaToolkitVersion().empty()) GTEST_SKIP() << "this build has CUDA kernels";
  EXPECT_TRUE(CudaDevices().empty());
}

TEST(DeviceInfo, DescribesEveryGpu) {
  const std::vector<CudaDevice> devices = CudaDevices();
  if (devices.empty()) GTEST_SKIP() << "no GPU";
  for (const CudaDevice& device : devices) {
    EXPECT_NE(device.name, "");
    EXPECT_GE(device.compute_capability, 50);
    EXPECT_GT(device.memory_bytes, int64_t{1} << 30);
    EXPECT_EQ(device.runs_kernels, device.compute_capability >= 80);
  }
}

}  // namespace
}  // namespace genie_env
