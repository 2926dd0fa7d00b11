#pragma once

#include <ATen/core/Tensor.h>

#include "genie_env/models/layers/reward_range.h"

// Rewards as a classification over bins (DreamerV3, Hafner et al. 2023, "Symlog predictions"):
// rewards may be of any size and have several modes. The bins are evenly spaced in symlog(x) =
// sign(x) ln(1 + |x|) between the smallest and the largest recorded reward, not between
// +-symexp(20) as in the paper: there a probability of 1e-6 in a tail bin that no reward was ever
// seen in adds hundreds to the mean.

namespace genie_env {

/// The rewards that the bins stand for, in order: float32 [kRewardBins], on the CPU. The first is
/// range.low, the last range.high. Throws std::invalid_argument unless the range is one.
at::Tensor RewardBins(const RewardRange& range);

/// The mean of the bins (RewardBins) under logits [..., kRewardBins], float32: [...].
at::Tensor ExpectedReward(const at::Tensor& logits, const at::Tensor& bins);

/// The cross-entropy of logits [M, kRewardBins] with rewards, float32 [M], each shared by the two
/// bins beside it so that their mean is the reward ("two-hot"): [M]. Rewards beyond the range count
/// as its ends.
at::Tensor RewardCrossEntropy(const at::Tensor& logits, const at::Tensor& rewards,
                              const at::Tensor& bins);

}  // namespace genie_env
