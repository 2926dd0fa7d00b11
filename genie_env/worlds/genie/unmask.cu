#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "genie_env/core/random.h"
#include "genie_env/worlds/genie/unmask.h"

namespace genie_env {
namespace {

constexpr int kWarp = 32, kThreads = 256;
constexpr unsigned kAllLanes = ~0u;

// All lanes of a warp call the next functions together, and each lane gets the result.

__device__ float Largest(float x) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, step));
  }
  return x;
}

__device__ float Sum(float x) {
  for (int step = kWarp / 2; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  return x;
}

/// The normalisation of one row of logits.
struct Categorical {
  float top;      ///< the largest
  float log_sum;  ///< ln of the sum of their exponentials
};

__device__ Categorical Describe(const float* logits, int64_t codes, int lane) {
  float top = -INFINITY, sum = 0;
  for (int64_t i = lane; i < codes; i += kWarp) top = fmaxf(top, logits[i]);
  top = Largest(top);
  for (int64_t i = lane; i < codes; i += kWarp) sum += expf(logits[i] - top);
  return {top, top + logf(Sum(sum))};
}

__device__ int64_t Sample(const float* logits, int64_t codes, float top, float temperature,
                          float uniform, int lane) {
  const auto weight = [&](int64_t i) {
    return i < codes ? expf((logits[i] - top) / temperature) : 0.0f;
  };
  float total = 0;
  for (int64_t i = lane; i < codes; i += kWarp) total += weight(i);
  const float aim = fmaxf(uniform, kLeastUniform) * Sum(total);
  // Finds the warp's width of codes that reaches the aim, then the code among them, as the kernel
  // for CPUs does (kernels/cpu/transformer_kernels.cc): the last one that makes the sum larger.
  float before = 0;  // the sum of the weights of the codes before `first`
  int64_t first = 0;
  for (; first + kWarp < codes; first += kWarp) {
    const float next = before + Sum(weight(first + lane));
    if (next >= aim) break;
    before = next;
  }
  const int64_t end = min(first + kWarp, codes);
  const auto last_that_raises = [&](int64_t begin, float sum) {
    int64_t last = -1;
    for (int64_t i = begin; i < end && sum < aim; ++i) {
      const float next = sum + weight(i);
      if (next > sum) last = i;
      sum = next;
    }
    return last;
  };
  const int64_t found = last_that_raises(first, before);
  if (found >= 0) return found;
  // Logits that are not finite may leave no code: it is then any, and the surprise tells.
  return max(last_that_raises(0, 0.0f), int64_t{0});
}

/// One block computes one row. One warp reads the logits of one position.
__global__ void Unmask(MaskGitPass pass) {
  extern __shared__ float rank[];  // [positions]; later each token's share of the surprise
  bool* unmasked = reinterpret_cast<bool*>(rank + pass.positions);  // [positions]
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
  const int64_t row = blockIdx.x, first = row * pass.positions;
  const float* logits = pass.logits + first * pass.codes;
  int64_t* tokens = pass.tokens + first;

  for (int64_t s = warp; s < pass.positions; s += kThreads / kWarp) {
    float own = -INFINITY;
    if (tokens[s] == pass.codes) {
      if (pass.order != nullptr) {
        own = pass.order[first + s];
      } else {
        const Categorical described = Describe(logits + s * pass.codes, pass.codes, lane);
        own = described.top - described.log_sum;
      }
    }
    if (lane == 0) rank[s] = own;
  }
  __syncthreads();

  for (int64_t s = thread; s < pass.positions; s += kThreads) {
    int64_t earlier = 0;
    for (int64_t t = 0; t < pass.positions; ++t) {
      earlier += rank[t] > rank[s] || (rank[t] == rank[s] && t < s) ? 1 : 0;
    }
    unmasked[s] = tokens[s] == pass.codes && earlier < pass.count;
  }
  __syncthreads();

  for (int64_t s = warp; s < pass.positions; s += kThreads / kWarp) {
    float surprise = 0;
    if (unmasked[s]) {
      const float* own = logits + s * pass.codes;
      const Categorical described = Describe(own, pass.codes, lane);
      const int64_t token = pass.given != nullptr
                                ? pass.given[first + s]
                                : Sample(own, pass.codes, described.top, pass.temperature[row],
                                         pass.uniform[first + s], lane);
      surprise = described.log_sum - own[token];
      if (lane == 0) tokens[s] = token;
    }
    if (lane == 0) rank[s] = surprise;
  }
  __syncthreads();

  if (warp == 0) {
    float surprise = 0;
    for (int64_t s = lane; s < pass.positions; s += kWarp) surprise += rank[s];
    surprise = Sum(surprise);
    if (lane == 0) pass.surprise[row] += surprise;
  }
}

}  // namespace

void UnmaskOnGpu(const MaskGitPass& pass, void* stream) {
  if (pass.rows == 0) return;
  const auto shared = static_cast<size_t>(pass.positions) * (sizeof(float) + sizeof(bool));
  Unmask<<<static_cast<unsigned>(pass.rows), kThreads, shared, static_cast<cudaStream_t>(stream)>>>(
      pass);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) {
    throw std::runtime_error(std::string("the MaskGIT kernel could not be launched: ") +
                             cudaGetErrorString(error));
  }
}

}  // namespace genie_env
