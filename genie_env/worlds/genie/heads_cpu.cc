#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "genie_env/worlds/genie/frozen_heads.h"
#include "genie_env/worlds/genie/transformer_cpu.h"

namespace genie_env {
namespace {

/// One head; it judges up to kPositionGroup rows at a time.
class HeadCpu {
 public:
  explicit HeadCpu(const OutcomeWeights& weights)
      : units_({weights.units_weight, weights.units_bias}),
        output_({weights.output_weight, weights.output_bias}),
        bins_(weights.bins()),
        termination_(weights.termination()) {
    if (bins_ > 0) reward_bins_ = weights.reward_bins.contiguous();
  }

  bool has_reward() const { return bins_ > 0; }
  bool has_termination() const { return termination_; }

  struct Workspace {
    explicit Workspace(const HeadCpu& head)
        : input(at::zeros({kPositionGroup, head.units_.stride()}, at::kFloat)),
          units(at::zeros({kPositionGroup, head.units_.padded_outputs()}, at::kFloat)),
          output(at::empty({kPositionGroup, head.output_.padded_outputs()}, at::kFloat)) {}
    at::Tensor input, units, output;
  };

  /// Reads the first rows of workspace.input; reward, termination_logit: of these rows, where there
  /// are such.
  void Judge(Workspace& workspace, int64_t rows, float* reward, float* termination_logit) const {
    float* units = workspace.units.mutable_data_ptr<float>();
    float* output = workspace.output.mutable_data_ptr<float>();
    units_.Write(kPositionGroup, workspace.input.const_data_ptr<float>(), units);
    for (int64_t row = 0; row < rows; ++row) {
      float* unit = units + row * units_.padded_outputs();
      for (int64_t i = 0; i < units_.outputs(); ++i) {
        unit[i] = std::max(unit[i] + units_.bias()[i], 0.0f);
      }
    }
    output_.Write(kPositionGroup, units, output);
    for (int64_t row = 0; row < rows; ++row) {
      float* logits = output + row * output_.padded_outputs();
      for (int64_t i = 0; i < output_.outputs(); ++i) logits[i] += output_.bias()[i];
      if (termination_) termination_logit[row] = logits[bins_];
      if (bins_ > 0) reward[row] = Expected(logits);
    }
  }

 private:
  float Expected(const float* logits) const {
    const float* bins = reward_bins_.const_data_ptr<float>();
    const float top = *std::max_element(logits, logits + bins_);
    float total = 0, weighted = 0;
    for (int64_t i = 0; i < bins_; ++i) {
      const float weight = std::exp(logits[i] - top);
      total += weight;
      weighted += weight * bins[i];
    }
    return weighted / total;
  }

  LinearCpu<float> units_, output_;
  int64_t bins_;
  bool termination_;
  at::Tensor reward_bins_;  // undefined where rewards are not learned
};

// The units are whole panels, so that those of a row are the next layer's input as they are.
static_assert(OutcomeSizes::kUnits % LinearCpu<float>::kColumns == 0);

class HeadsCpu final : public FrozenHeads {
 public:
  explicit HeadsCpu(const HeadsWeights& weights) : actions_(weights.actions) {
    if (weights.outcome) outcome_.emplace(*weights.outcome);
    if (weights.ending) ending_.emplace(*weights.ending);
  }

  HeadsOutcome Judge(const at::Tensor& before, const at::Tensor& actions,
                     const at::Tensor& after) const override {
    HeadsOutcome found;
    if (outcome_) Read(*outcome_, before, actions, &after, found);
    if (ending_) Read(*ending_, before, actions, nullptr, found);
    return found;
  }

 private:
  // after: null where the head does not read it.
  void Read(const HeadCpu& head, const at::Tensor& before, const at::Tensor& actions,
            const at::Tensor* after, HeadsOutcome& found) const {
    const int64_t rows = before.size(0), features = before.size(1);
    const int64_t groups = (rows + kPositionGroup - 1) / kPositionGroup;
    if (head.has_reward()) found.reward = at::empty({rows}, at::kFloat);
    if (head.has_termination()) found.termination_logit = at::empty({rows}, at::kFloat);
    const auto at_row = [](const at::Tensor& tensor, int64_t row) {
      return tensor.defined() ? tensor.mutable_data_ptr<float>() + row : nullptr;
    };
    at::parallel_for(0, groups, 1, [&](int64_t begin, int64_t end) {
      HeadCpu::Workspace workspace(head);
      const int64_t stride = workspace.input.size(1);
      for (int64_t group = begin; group < end; ++group) {
        const int64_t first = group * kPositionGroup;
        const int64_t count = std::min(kPositionGroup, rows - first);
        for (int64_t row = first; row < first + count; ++row) {
          float* input = workspace.input.mutable_data_ptr<float>() + (row - first) * stride;
          input = std::copy_n(before.const_data_ptr<float>() + row * features, features, input);
          std::fill_n(input, actions_, 0.0f);
          input[actions.const_data_ptr<int64_t>()[row]] = 1;
          input += actions_;
          if (after != nullptr) {
            std::copy_n(after->const_data_ptr<float>() + row * features, features, input);
          }
        }
        head.Judge(workspace, count, at_row(found.reward, first),
                   at_row(found.termination_logit, first));
      }
    });
  }

  int64_t actions_;
  std::optional<HeadCpu> outcome_, ending_;
};

}  // namespace

std::unique_ptr<const FrozenHeads> MakeHeadsCpu(const HeadsWeights& weights) {
  return std::make_unique<HeadsCpu>(weights);
}

}  // namespace genie_env
