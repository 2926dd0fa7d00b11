#include "genie_env/nn/trainer.h"

#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <stdexcept>
#include <utility>
#include <vector>

#include "genie_env/nn/autocast.h"

namespace genie_env {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

std::map<std::string, double> Report(const Loss& loss) {
  std::map<std::string, double> report{{"loss", loss.total.item<double>()}};
  for (const auto& [name, term] : loss.terms) {
    report.emplace(name, term.item<double>());
  }
  return report;
}

}  // namespace

struct Trainer::Impl {
  std::shared_ptr<Model> model;
  TrainerOptions options;
  at::Device device;
  std::vector<std::string> names;
  std::vector<at::Tensor> parameters, first_moments, second_moments, steps;
  int64_t step = 0;

  Loss ComputeLoss(const TensorMap& batch, const NoiseKey& noise) {
    const Bf16Scope autocast(options.bf16, device.type());
    return model->ComputeLoss(batch, noise);
  }
};

Trainer::Trainer(std::shared_ptr<Model> model, TrainerOptions options)
    : impl_(std::make_unique<Impl>(Impl{.model = std::move(model),
                                        .options = options,
                                        .device = at::Device(options.device),
                                        .names = {},
                                        .parameters = {},
                                        .first_moments = {},
                                        .second_moments = {},
                                        .steps = {}})) {
  impl_->model->to(impl_->device);
  for (const auto& [name, parameter] : ParametersOf(*impl_->model)) {
    impl_->names.push_back(name);
    impl_->parameters.push_back(parameter);
    impl_->first_moments.push_back(at::zeros_like(parameter));
    impl_->second_moments.push_back(at::zeros_like(parameter));
    impl_->steps.push_back(at::zeros({}, at::TensorOptions(impl_->device).dtype(at::kFloat)));
  }
}

Trainer::~Trainer() = default;

std::map<std::string, double> Trainer::Backward(const TensorMap& batch) {
  const NoiseKey noise{impl_->options.seed, static_cast<uint64_t>(impl_->step)};
  const Loss loss = impl_->ComputeLoss(batch, noise);
  std::map<std::string, double> report = Report(loss);
  if (!loss.total.isfinite().item<bool>()) {
    throw std::runtime_error("the loss is " + std::to_string(report["loss"]) + " at step " +
                             std::to_string(impl_->step) +
                             "; the weights are as before it: lower the learning rate or look for "
                             "values that are not finite in the data");
  }
  impl_->model->zero_grad();
  loss.total.backward();
  return report;
}

std::map<std::string, double> Trainer::Evaluate(const TensorMap& batch, uint64_t noise_step) {
  const c10::AutoGradMode no_gradients(false);
  // Another key than any training step's.
  return Report(impl_->ComputeLoss(batch, {~impl_->options.seed, noise_step}));
}

void Trainer::Update() {
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& parameter : impl_->parameters) {
    if (!parameter.grad().defined()) {
      throw std::logic_error("update before backward: there are no gradients yet");
    }
    gradients.push_back(parameter.grad());
  }
  const c10::AutoGradMode no_gradients(false);
  if (impl_->options.gradient_clip > 0) {
    for (at::Tensor& gradient : gradients) {
      gradient.clamp_(-impl_->options.gradient_clip, impl_->options.gradient_clip);
    }
  }
  for (at::Tensor& step : impl_->steps) {
    step.add_(1);
  }
  at::_fused_adam_(impl_->parameters, gradients, impl_->first_moments, impl_->second_moments,
                   /*max_exp_avg_sqs=*/{}, impl_->steps, impl_->options.learning_rate, kBeta1,
                   kBeta2, /*weight_decay=*/0.0, kEpsilon, /*amsgrad=*/false, /*maximize=*/false);
  ++impl_->step;
}

void Trainer::SetLearningRate(double learning_rate) {
  impl_->options.learning_rate = learning_rate;
}

TensorMap Trainer::Gradients() const {
  TensorMap gradients;
  for (size_t i = 0; i < impl_->names.size(); ++i) {
    if (impl_->parameters[i].grad().defined()) {
      gradients.emplace(impl_->names[i], impl_->parameters[i].grad());
    }
  }
  return gradients;
}

TensorMap Trainer::Weights() const {
  TensorMap weights;
  for (size_t i = 0; i < impl_->names.size(); ++i) {
    weights.emplace(impl_->names[i], impl_->parameters[i].detach().clone());
  }
  return weights;
}

void Trainer::LoadWeights(const TensorMap& weights) { LoadParameters(*impl_->model, weights); }

TensorMap Trainer::State() const {
  TensorMap state{{"step", at::full({}, impl_->step, at::kLong)}};
  for (size_t i = 0; i < impl_->names.size(); ++i) {
    state.emplace("weight." + impl_->names[i], impl_->parameters[i].detach().clone());
    state.emplace("first_moment." + impl_->names[i], impl_->first_moments[i].clone());
    state.emplace("second_moment." + impl_->names[i], impl_->second_moments[i].clone());
  }
  return state;
}

void Trainer::LoadState(const TensorMap& state) {
  const int64_t step = Take(state, "step").item<int64_t>();
  const auto moments = [&](const std::string& prefix) {
    std::vector<at::Tensor> found;
    for (size_t i = 0; i < impl_->names.size(); ++i) {
      const at::Tensor& moment = Take(state, prefix + impl_->names[i]);
      if (moment.sizes() != impl_->parameters[i].sizes()) {
        throw std::invalid_argument("\"" + prefix + impl_->names[i] +
                                    "\" has another shape than this network's parameter: the state "
                                    "is of a network of other sizes");
      }
      found.push_back(moment.to(impl_->device, at::kFloat).clone());
    }
    return found;
  };
  std::vector<at::Tensor> first = moments("first_moment."), second = moments("second_moment.");
  TensorMap weights;
  for (const std::string& name : impl_->names) {
    weights.emplace(name, Take(state, "weight." + name));
  }
  LoadParameters(*impl_->model, weights);
  impl_->first_moments = std::move(first);
  impl_->second_moments = std::move(second);
  impl_->step = step;
  for (at::Tensor& counter : impl_->steps) {
    counter.fill_(static_cast<double>(step));
  }
}

int64_t Trainer::step() const { return impl_->step; }

Model& Trainer::model() const { return *impl_->model; }

}  // namespace genie_env
