#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cmath>

#include "genie_env/core/spec.h"

namespace genie_env {

/// Actions of a world, one for each of `numbers` (int64, of any shape): equal numbers give equal
/// actions, and neighbouring ones others.
inline at::Tensor SomeActions(const ActionSpec& spec, const at::Tensor& numbers) {
  if (!spec.box) return spec.start + numbers.remainder(spec.count());
  const ActionBox& box = *spec.box;
  const at::Tensor flat = numbers.flatten();
  const at::Tensor actions = at::empty({flat.size(0), box.numel()}, at::kFloat);
  for (int64_t i = 0; i < flat.size(0); ++i) {
    for (int64_t j = 0; j < box.numel(); ++j) {
      const double place = 0.381966 * static_cast<double>(flat[i].item<int64_t>() + 3 * j);
      const auto share = static_cast<float>(place - std::floor(place));
      const auto at = static_cast<size_t>(j);
      actions[i][j] = box.low[at] + share * (box.high[at] - box.low[at]);
    }
  }
  std::vector<int64_t> shape = numbers.sizes().vec();
  shape.insert(shape.end(), box.shape.begin(), box.shape.end());
  return actions.view(shape);
}

}  // namespace genie_env
