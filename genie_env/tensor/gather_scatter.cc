#include "genie_env/tensor/gather_scatter.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "genie_env/tensor/device.h"

namespace genie_env {
namespace {

constexpr int64_t kGrain =
    1 << 16;  // bytes of one task; waking a thread for fewer costs more than it saves

bool IsPlainMemory(const at::Tensor& tensor) {
  return tensor.device().is_cpu() && tensor.is_contiguous();
}

// Calls copy(place, row, bytes) for every i: the offsets of row i and row rows[i], and the length
// of a row, in bytes.
template <typename Copy>
void ForEachRow(const at::Tensor& rows, const at::Tensor& tensor, const Copy& copy) {
  if (tensor.numel() == 0) return;
  const auto bytes = static_cast<int64_t>(tensor.nbytes()) / tensor.size(0);
  const int64_t* row = rows.const_data_ptr<int64_t>();
  at::parallel_for(0, rows.size(0), std::max<int64_t>(1, kGrain / bytes),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) copy(i * bytes, row[i] * bytes, bytes);
                   });
}

}  // namespace

at::Tensor GatherRows(const at::Tensor& tensor, const at::Tensor& rows) {
  if (!IsPlainMemory(tensor)) return tensor.index_select(0, ToDevice(rows, tensor.device()));
  std::vector<int64_t> shape = tensor.sizes().vec();
  shape[0] = rows.size(0);
  at::Tensor gathered = at::empty(shape, tensor.options());
  const auto* from = static_cast<const std::byte*>(tensor.const_data_ptr());
  auto* to = static_cast<std::byte*>(gathered.mutable_data_ptr());
  ForEachRow(rows, tensor, [&](int64_t place, int64_t row, int64_t bytes) {
    std::memcpy(to + place, from + row, bytes);
  });
  return gathered;
}

at::Tensor SelectRows(const at::Tensor& tensor, const std::optional<at::Tensor>& rows) {
  return rows ? GatherRows(tensor, *rows) : tensor;
}

void ScatterRows(const at::Tensor& tensor, const at::Tensor& rows, const at::Tensor& values) {
  const at::Tensor near = values.to(tensor.device()).contiguous();
  if (!IsPlainMemory(tensor)) {
    tensor.index_copy_(0, ToDevice(rows, tensor.device()), near);
    return;
  }
  const auto* from = static_cast<const std::byte*>(near.const_data_ptr());
  auto* to = static_cast<std::byte*>(tensor.mutable_data_ptr());
  ForEachRow(rows, tensor, [&](int64_t place, int64_t row, int64_t bytes) {
    std::memcpy(to + row, from + place, bytes);
  });
}

}  // namespace genie_env
