#pragma once

#include <map>
#include <memory>
#include <string>

#include "genie_env/models/model.h"

namespace genie_env {

struct TrainerOptions {
  double learning_rate = 1e-3;
  double gradient_clip = 0;  ///< largest absolute value of a gradient's element; 0: no clipping
  bool bf16 = false;         ///< bfloat16 autocast where the processor has it
  uint64_t seed = 0;         ///< seed of the noise
  std::string device = "cpu";
};

/// One network, its loss and its optimiser (Adam, Kingma & Ba 2015, betas 0.9 and 0.999). The
/// caller owns the loop around it (data order, schedule, progress, checkpoints). Thread-compatible.
class Trainer {
 public:
  /// Throws std::invalid_argument on a null model, rates that are negative or not finite, and a
  /// device that is not there.
  Trainer(std::shared_ptr<Model> model, TrainerOptions options);
  ~Trainer();

  /// Computes loss and gradients of one batch; the gradients replace earlier ones. Returns the loss
  /// as "loss" and its terms. Throws std::runtime_error when the loss is not finite. Where it
  /// throws, there are no gradients.
  std::map<std::string, double> Backward(const TensorMap& batch);

  /// Computes the same numbers without gradients; the noise is keyed by `noise_step` alone.
  std::map<std::string, double> Evaluate(const TensorMap& batch, uint64_t noise_step);

  /// Makes one optimiser step with the gradients of the last Backward. Throws std::logic_error
  /// where it failed, or another Update, LoadWeights or LoadState came after it, or another trainer
  /// of the network made its gradients or changed its weights since, and
  /// std::runtime_error when a gradient is not finite; the weights are then as before.
  void Update();

  void SetLearningRate(double learning_rate);

  /// The gradients by parameter name, not copied: processes that train together reduce them.
  TensorMap Gradients() const;

  /// Copies of the weights by parameter name; a world directory stores them.
  TensorMap Weights() const;
  void LoadWeights(const TensorMap& weights);

  /// Copies of weights, optimiser moments, buffers and the step: all that a resumed run needs.
  TensorMap State() const;

  /// Loads a State of this network. Throws std::invalid_argument, before anything is written, on a
  /// missing or unknown name, another shape, a value that is not finite, or a negative step.
  void LoadState(const TensorMap& state);

  int64_t step() const;  ///< updates made
  Model& model() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace genie_env
