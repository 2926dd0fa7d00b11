#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "genie_env/kernels/cpu/packed_gemm.h"
#include "genie_env/worlds/vision_memory/memory_kernels.h"

// The products of a frozen M on the CPU are tasks of (one panel of packed weights) x (one block of
// rows), the panel outermost, so that a core keeps a panel's weights in its cache.

namespace genie_env {

inline constexpr int64_t kRowsOfBlock = 64;
inline constexpr int64_t kColumnsOfThread = 256;  ///< about: fewer are not worth waking a thread

/// Panels of kPanel that `size` units or dimensions fill.
inline int64_t Panels(int64_t size) { return (size + kPanel - 1) / kPanel; }

inline int64_t Blocks(int64_t rows) { return (rows + kRowsOfBlock - 1) / kRowsOfBlock; }

/// Rows of a buffer for the products of `rows` rows.
inline int64_t PaddedRows(int64_t rows) {
  const int64_t last = (Blocks(rows) - 1) * kRowsOfBlock;
  return rows == 0 ? 0 : last + ProductRows(rows - last);
}

/// Calls task(panel, first row, rows, products) for all tasks, each of a product of `columns`
/// columns. products: a buffer for one block, [kRowsOfBlock, columns], of the calling thread.
/// Threads that are done with their share of the tasks take those of others, so that a core which
/// is busy with other work delays the others little.
template <typename Task>
void ForEachTask(int64_t panels, int64_t rows, bool bf16, int64_t columns, const Task& task) {
  const int64_t blocks = Blocks(rows), tasks = panels * blocks;
  const int64_t least = std::max<int64_t>(1, kColumnsOfThread / columns);
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), (tasks + least - 1) / least);
  struct alignas(64) Share {  // of one thread
    std::atomic<int64_t> next;
    int64_t end;
  };
  std::vector<Share> shares(threads);
  for (int64_t i = 0; i < threads; ++i) {
    shares[i].next = tasks * i / threads;
    shares[i].end = tasks * (i + 1) / threads;
  }
  at::parallel_for(0, threads, 1, [&](int64_t own, int64_t /*end*/) {
    const TileScope tiles{bf16};
    const at::Tensor products = at::empty({kRowsOfBlock, columns}, at::kFloat);
    for (int64_t i = 0; i < threads; ++i) {
      Share& share = shares[(own + i) % threads];
      for (int64_t index = share.next++; index < share.end; index = share.next++) {
        const int64_t first = index % blocks * kRowsOfBlock;
        task(index / blocks, first, std::min(kRowsOfBlock, rows - first),
             products.mutable_data_ptr<float>());
      }
    }
  });
}

/// The part of an observation, float32 [N, ...], that begins at this row and column; none where the
/// observation is undefined.
inline StridedRows PartOf(const at::Tensor& observation, int64_t row, int64_t column) {
  if (!observation.defined()) return {};
  return {observation.mutable_data_ptr<float>() + row * observation.stride(0) + column,
          observation.stride(0)};
}

}  // namespace genie_env
