#pragma once

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <memory>
#include <vector>

#include "counting_world.h"
#include "genie_env/env/vec_env.h"

namespace genie_env {

// Environments in the world of small integers, and what they take and give as plain numbers.

using Numbers = std::vector<int64_t>;
using Table = std::vector<Numbers>;

inline at::Tensor Longs(const Numbers& values) { return at::tensor(values, at::kLong); }

inline at::Tensor Mask(const std::vector<bool>& values) {
  at::Tensor mask = at::zeros({static_cast<int64_t>(values.size())}, at::kBool);
  for (size_t i = 0; i < values.size(); ++i) mask.mutable_data_ptr<bool>()[i] = values[i];
  return mask;
}

/// One frame a row, filled with its value.
inline at::Tensor Frames(const std::vector<uint8_t>& values) {
  const auto rows = static_cast<int64_t>(values.size());
  at::Tensor frames = at::empty({rows, 1, 1, 3}, at::kByte);
  for (int64_t i = 0; i < frames.numel(); ++i) {
    frames.mutable_data_ptr<uint8_t>()[i] = values[static_cast<size_t>(i / 3)];
  }
  return frames;
}

/// Any tensor as whole numbers, in row-major order.
inline Numbers Flat(const at::Tensor& tensor) {
  const at::Tensor longs = tensor.to(at::kLong).contiguous();
  return {longs.const_data_ptr<int64_t>(), longs.const_data_ptr<int64_t>() + longs.numel()};
}

inline Table TableOf(const at::Tensor& tensor) {
  Table table;
  for (int64_t row = 0; row < tensor.size(0); ++row) table.push_back(Flat(tensor.select(0, row)));
  return table;
}

/// Row i has the seed 10 + i, unless the options say another.
inline VecEnv Counting(int64_t ends_at, VecEnvOptions options) {
  options.seed = options.seed.value_or(10);
  return VecEnv(std::make_shared<CountingWorld>(ends_at), options);
}

}  // namespace genie_env
