#include "genie_env/tensor/draws.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>

namespace genie_env {

at::Tensor DrawStartIndices(const RowCounters& rng, int64_t count, Stream stream) {
  const at::Tensor drawn = Draw(rng, stream, 1, FillUniformRows);
  at::Tensor index = at::empty({drawn.size(0)}, at::kLong);
  const auto* uniform = drawn.const_data_ptr<float>();
  auto* out = index.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < index.numel(); ++i) {
    out[i] =
        std::min(count - 1, static_cast<int64_t>(double{uniform[i]} * static_cast<double>(count)));
  }
  return index;
}

void DrawRows(const RowCounters& rng, Stream stream, Filler fill, int64_t begin, int64_t end,
              const at::Tensor& draws) {
  const auto first = static_cast<size_t>(begin), count = static_cast<size_t>(end - begin);
  const auto width = static_cast<size_t>(draws.size(1));
  fill(std::span(rng).subspan(first, count), stream,
       {draws.mutable_data_ptr<float>() + first * width, count * width});
}

at::Tensor Draw(const RowCounters& rng, Stream stream, int64_t size, Filler fill) {
  const auto rows = static_cast<int64_t>(rng.size());
  at::Tensor draws = at::empty({rows, size}, at::kFloat);
  constexpr int64_t kGrain = 1 << 13;  // numbers; to wake a thread for fewer takes longer than they
  at::parallel_for(
      0, rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(size, 1)),
      [&](int64_t begin, int64_t end) { DrawRows(rng, stream, fill, begin, end, draws); });
  return draws;
}

}  // namespace genie_env
