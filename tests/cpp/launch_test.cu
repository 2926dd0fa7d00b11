// The toolchain itself: device code of ours, compiled by nvcc and linked beside LibTorch, runs.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include "genie_env/kernels/device_info.h"

namespace {

__global__ void Square(const int* in, int* out) {
  out[threadIdx.x] = in[threadIdx.x] * in[threadIdx.x];
}

TEST(Cuda, LaunchesAKernel) {
  if (genie_env::CudaDevices().empty()) GTEST_SKIP() << "no GPU";
  const int in[4] = {0, 1, 2, -3};
  int out[4] = {};
  int* buffer = nullptr;
  ASSERT_EQ(cudaMalloc(&buffer, sizeof(in) + sizeof(out)), cudaSuccess);
  cudaStream_t stream;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  cudaMemcpyAsync(buffer, in, sizeof(in), cudaMemcpyHostToDevice, stream);
  Square<<<1, 4, 0, stream>>>(buffer, buffer + 4);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  cudaMemcpyAsync(out, buffer + 4, sizeof(out), cudaMemcpyDeviceToHost, stream);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(out[i], in[i] * in[i]);
  cudaStreamDestroy(stream);
  cudaFree(buffer);
}

}  // namespace
