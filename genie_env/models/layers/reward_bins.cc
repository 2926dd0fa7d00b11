#include "genie_env/models/layers/reward_bins.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/softmax.h>

#include <cmath>
#include <stdexcept>

#include "genie_env/core/text.h"

namespace genie_env {
namespace {

double Symlog(double x) { return std::copysign(std::log1p(std::abs(x)), x); }

double Symexp(double x) { return std::copysign(std::expm1(std::abs(x)), x); }

}  // namespace

at::Tensor RewardBins(const RewardRange& range) {
  if (!(std::isfinite(range.low) && std::isfinite(range.high) && range.low < range.high)) {
    throw std::invalid_argument("rewards from " + NumberText(range.low) + " to " +
                                NumberText(range.high) +
                                " were given, expected finite numbers, the second above the first");
  }
  at::Tensor bins = at::empty({kRewardBins}, at::kFloat);
  float* bin = bins.mutable_data_ptr<float>();
  const double first = Symlog(range.low), last = Symlog(range.high);
  for (int64_t i = 0; i < kRewardBins; ++i) {
    const double share = static_cast<double>(i) / (kRewardBins - 1);
    bin[i] = static_cast<float>(Symexp(first + share * (last - first)));
  }
  bin[0] = static_cast<float>(range.low);
  bin[kRewardBins - 1] = static_cast<float>(range.high);
  return bins;
}

at::Tensor ExpectedReward(const at::Tensor& logits, const at::Tensor& bins) {
  return (at::softmax(logits.to(at::kFloat), -1) * bins).sum(-1);
}

at::Tensor RewardCrossEntropy(const at::Tensor& logits, const at::Tensor& rewards,
                              const at::Tensor& bins) {
  const at::Tensor log_probability = at::log_softmax(logits.to(at::kFloat), -1);
  const at::Tensor reward = rewards.clamp(bins[0], bins[kRewardBins - 1]);
  const at::Tensor upper = at::searchsorted(bins, reward).clamp(1, kRewardBins - 1);
  const at::Tensor low = bins.index_select(0, upper - 1), high = bins.index_select(0, upper);
  const at::Tensor share = (reward - low) / (high - low);
  const auto of = [&](const at::Tensor& bin) {
    return log_probability.gather(-1, bin.unsqueeze(-1)).squeeze(-1);
  };
  return -((1 - share) * of(upper - 1) + share * of(upper));
}

}  // namespace genie_env
