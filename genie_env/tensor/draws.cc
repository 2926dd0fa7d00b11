#include "genie_env/tensor/draws.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>

namespace genie_env {

at::Tensor DrawStartIndices(const RowCounters& rng, int64_t count, Stream stream) {
  at::Tensor index = at::empty({static_cast<int64_t>(rng.size())}, at::kLong);
  for (size_t i = 0; i < rng.size(); ++i) {
    float uniform = 0;
    FillUniform(rng[i], stream, {&uniform, 1});
    index.mutable_data_ptr<int64_t>()[i] =
        std::min(count - 1, static_cast<int64_t>(double{uniform} * static_cast<double>(count)));
  }
  return index;
}

at::Tensor Draw(const RowCounters& rng, Stream stream, int64_t size, Filler fill) {
  const auto rows = static_cast<int64_t>(rng.size());
  at::Tensor draws = at::empty({rows, size}, at::kFloat);
  float* out = draws.mutable_data_ptr<float>();
  at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      fill(rng[row], stream, {out + row * size, static_cast<size_t>(size)});
    }
  });
  return draws;
}

}  // namespace genie_env
