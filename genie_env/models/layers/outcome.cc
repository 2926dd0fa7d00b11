#include "genie_env/models/layers/outcome.h"

#include <ATen/ops/relu.h>

namespace genie_env {

Outcome::Outcome(OutcomeSizes sizes, int64_t inputs, uint64_t seed, uint32_t layer)
    : sizes_(sizes) {
  const auto affine = [&](const char* name, int64_t out, int64_t in, uint32_t number) {
    return register_module(
        name, std::make_shared<Affine>(std::vector<int64_t>{out, in}, out, in, seed, number));
  };
  units_ = affine("units", OutcomeSizes::kUnits, inputs, layer);
  output_ = affine("output", Outputs(sizes), OutcomeSizes::kUnits, layer + 1);
}

Judgement Outcome::Judge(const at::Tensor& input) const {
  const at::Tensor output = Apply(*output_, at::relu(Apply(*units_, input))).to(at::kFloat);
  Judgement judgement;
  if (sizes_.reward) judgement.reward_logits = output.narrow(-1, 0, kRewardBins);
  if (sizes_.termination) judgement.termination_logit = output.select(-1, output.size(-1) - 1);
  return judgement;
}

}  // namespace genie_env
