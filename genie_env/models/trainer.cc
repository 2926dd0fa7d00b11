#include "genie_env/models/trainer.h"

#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "genie_env/core/text.h"
#include "genie_env/models/autocast.h"
#include "genie_env/tensor/check_tensor.h"
#include "genie_env/tensor/device.h"

namespace genie_env {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kAdamEpsilon = 1e-8;

std::shared_ptr<Model> Checked(std::shared_ptr<Model> model) {
  if (model == nullptr) throw std::invalid_argument("model is null, expected a network");
  return model;
}

void CheckNotNegative(const std::string& name, double number) {
  if (number >= 0 && std::isfinite(number)) return;
  throw std::invalid_argument(name + " is " + NumberText(number) +
                              ", expected a finite number of 0 or more");
}

TrainerOptions Checked(TrainerOptions options) {
  CheckNotNegative("learning_rate", options.learning_rate);
  CheckNotNegative("gradient_clip", options.gradient_clip);
  return options;
}

std::map<std::string, double> Report(const Loss& loss) {
  std::map<std::string, double> report{{"loss", loss.total.item<double>()}};
  for (const auto& [name, term] : loss.terms) {
    report.emplace(name, term.item<double>());
  }
  return report;
}

/// Disables dropout for a scope.
class EvaluationScope {
 public:
  explicit EvaluationScope(Model& model) : model_(model) { model_.eval(); }
  ~EvaluationScope() { model_.train(); }
  EvaluationScope(const EvaluationScope&) = delete;
  EvaluationScope& operator=(const EvaluationScope&) = delete;

 private:
  Model& model_;
};

bool IsFinite(const at::Tensor& tensor) { return tensor.isfinite().all().item<bool>(); }

}  // namespace

struct Trainer::Impl {
  std::shared_ptr<Model> model;
  TrainerOptions options;
  at::Device device;
  std::vector<std::string> names;
  std::vector<at::Tensor> parameters, first_moments, second_moments, steps;
  int64_t step = 0;
  /// The noise of the step that the gradients belong to; empty where there are none to apply.
  std::optional<TrainingNoise> noise;
  int64_t gradients = 0;  ///< the network's number of them

  Loss ComputeLoss(const TensorMap& batch, TrainingNoise& of_step) {
    const Bf16Scope autocast(options.bf16, device.type());
    return model->ComputeLoss(batch, of_step);
  }

  void DropGradients() {
    noise.reset();
    model->zero_grad();
    gradients = model->VoidGradients();
  }
};

Trainer::Trainer(std::shared_ptr<Model> model, TrainerOptions options)
    : impl_(std::make_unique<Impl>(Impl{.model = Checked(std::move(model)),
                                        .options = Checked(options),
                                        .device = ParseDevice(options.device),
                                        .names = {},
                                        .parameters = {},
                                        .first_moments = {},
                                        .second_moments = {},
                                        .steps = {},
                                        .noise = {}})) {
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
  impl_->DropGradients();
  TrainingNoise noise(impl_->options.seed, static_cast<uint64_t>(impl_->step));
  const Loss loss = impl_->ComputeLoss(batch, noise);
  std::map<std::string, double> report = Report(loss);
  if (!loss.total.isfinite().item<bool>()) {
    throw std::runtime_error("the loss is " + std::to_string(report["loss"]) + " at step " +
                             std::to_string(impl_->step) +
                             "; the weights are as before it: lower the learning rate or look for "
                             "values that are not finite in the data");
  }
  try {
    loss.total.backward();
  } catch (...) {
    impl_->DropGradients();  // some parameters may have theirs already
    throw;
  }
  impl_->noise = std::move(noise);
  return report;
}

std::map<std::string, double> Trainer::Evaluate(const TensorMap& batch, uint64_t noise_step) {
  const c10::AutoGradMode no_gradients(false);
  const EvaluationScope whole(*impl_->model);
  TrainingNoise noise(~impl_->options.seed, noise_step);  // No training step has this key.
  return Report(impl_->ComputeLoss(batch, noise));
}

void Trainer::Update() {
  const c10::AutoGradMode no_gradients(false);
  if (!impl_->noise || impl_->gradients != impl_->model->gradients()) {
    throw std::logic_error(
        "update before backward: there are no gradients to apply; every update needs a backward "
        "before it that did not fail, and no call of another trainer of the network between them");
  }
  std::vector<at::Tensor> gradients;
  for (size_t i = 0; i < impl_->names.size(); ++i) {
    const at::Tensor& gradient = impl_->parameters[i].grad();
    if (!gradient.defined()) {
      throw std::logic_error("the loss does not depend on \"" + impl_->names[i] +
                             "\": it has no gradient");
    }
    if (!IsFinite(gradient)) {
      throw std::runtime_error("the gradient of \"" + impl_->names[i] +
                               "\" is not finite at step " + std::to_string(impl_->step) +
                               "; the weights are as before it: lower the learning rate or look "
                               "for extreme values in the data");
    }
    gradients.push_back(gradient);
  }
  if (impl_->options.gradient_clip > 0) {
    for (at::Tensor& gradient : gradients) {
      gradient.clamp_(-impl_->options.gradient_clip, impl_->options.gradient_clip);
    }
  }
  TrainingNoise noise = *std::exchange(impl_->noise, std::nullopt);  // applied once, come what may
  for (at::Tensor& step : impl_->steps) {
    step.add_(1);
  }
  at::_fused_adam_(impl_->parameters, gradients, impl_->first_moments, impl_->second_moments,
                   /*max_exp_avg_sqs=*/{}, impl_->steps, impl_->options.learning_rate, kBeta1,
                   kBeta2, /*weight_decay=*/0.0, kAdamEpsilon, /*amsgrad=*/false,
                   /*maximize=*/false);
  impl_->model->AfterUpdate(noise);
  ++impl_->step;
  impl_->model->VoidGradients();  // those of other trainers are of the weights before
}

void Trainer::SetLearningRate(double learning_rate) {
  CheckNotNegative("learning_rate", learning_rate);
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

void Trainer::LoadWeights(const TensorMap& weights) {
  LoadParameters(*impl_->model, weights);
  impl_->DropGradients();
}

TensorMap Trainer::State() const {
  TensorMap state{{"step", at::full({}, impl_->step, at::kLong)}};
  for (size_t i = 0; i < impl_->names.size(); ++i) {
    state.emplace("weight." + impl_->names[i], impl_->parameters[i].detach().clone());
    state.emplace("first_moment." + impl_->names[i], impl_->first_moments[i].clone());
    state.emplace("second_moment." + impl_->names[i], impl_->second_moments[i].clone());
  }
  for (const auto& [name, buffer] : BuffersOf(*impl_->model)) {
    state.emplace("buffer." + name, buffer.clone());
  }
  return state;
}

void Trainer::LoadState(const TensorMap& state) {
  const c10::AutoGradMode no_gradients(false);
  const at::Tensor& counted = Take(state, "step", "the state");
  CheckTensor(counted, "step", at::kLong, {});
  const auto step = counted.item<int64_t>();
  if (step < 0) {
    throw std::invalid_argument("step is " + std::to_string(step) + ", expected 0 or more");
  }
  const auto moments = [&](const std::string& prefix, bool squares) {
    std::vector<at::Tensor> found;
    for (size_t i = 0; i < impl_->names.size(); ++i) {
      const std::string name = prefix + impl_->names[i];
      const at::Tensor& moment = Take(state, name, "the state");
      CheckTensor(moment, name, at::kFloat, impl_->parameters[i].sizes());
      if (!IsFinite(moment) || (squares && moment.lt(0).any().item<bool>())) {
        throw std::invalid_argument("\"" + name + "\" holds a value that is " +
                                    (squares ? "negative or " : "") + "not finite");
      }
      found.push_back(moment.to(impl_->device, at::kFloat, /*non_blocking=*/false, /*copy=*/true));
    }
    return found;
  };
  std::vector<at::Tensor> first = moments("first_moment.", /*squares=*/false),
                          second = moments("second_moment.", /*squares=*/true);
  const TensorMap buffers = BuffersOf(*impl_->model);
  for (const auto& [name, buffer] : buffers) {
    const std::string key = "buffer." + name;
    const at::Tensor& stored = Take(state, key, "the state");
    CheckTensor(stored, key, buffer.scalar_type(), buffer.sizes());
    if (!IsFinite(stored)) {
      throw std::invalid_argument("\"" + key + "\" holds a value that is not finite");
    }
  }
  TensorMap weights;
  for (const std::string& name : impl_->names) {
    weights.emplace(name, Take(state, "weight." + name, "the state"));
  }
  const TensorMap known = State();
  for (const auto& [name, tensor] : state) {
    if (!known.contains(name)) {
      throw std::invalid_argument("\"" + name + "\" is no part of this network's state");
    }
  }
  LoadWeights(weights);
  for (const auto& [name, buffer] : buffers) {
    at::Tensor(buffer).copy_(state.at("buffer." + name));
  }
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
