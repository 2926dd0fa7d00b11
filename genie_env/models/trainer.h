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
  uint64_t seed = 0;         ///< of the noise
  std::string device = "cpu";
};

/// One network, its loss and its optimiser (Adam, Kingma & Ba 2015, betas 0.9 and 0.999). The loop
/// around it (data order, schedule, progress, checkpoints) is the caller's. Thread-compatible.
class Trainer {
 public:
  /// Throws std::invalid_argument on a null model, rates that are negative or not finite, and a
  /// device that is not there.
  Trainer(std::shared_ptr<Model> model, TrainerOptions options);
  ~Trainer();

  /// Loss and gradients of one batch; replaces the gradients of the last. Returns the loss as
  /// "loss" and its terms. Throws std::runtime_error when the loss is not finite.
  std::map<std::string, double> Backward(const TensorMap& batch);

  /// The same numbers without gradients; the noise is keyed by `noise_step` alone.
  std::map<std::string, double> Evaluate(const TensorMap& batch, uint64_t noise_step);

  /// One optimiser step with the gradients at hand. Throws std::logic_error when there are none,
  /// std::runtime_error when one is not finite; the weights are then as before.
  void Update();

  void SetLearningRate(double learning_rate);

  /// The gradients themselves, by parameter name: what is reduced across processes.
  TensorMap Gradients() const;

  /// The weights alone, by parameter name (what a world directory stores); copies.
  TensorMap Weights() const;
  void LoadWeights(const TensorMap& weights);

  /// Weights, optimiser moments, buffers and the step: all that a resumed run needs. Copies.
  TensorMap State() const;

  /// Throws std::invalid_argument, before anything is written, on what no State of this network can
  /// be: a name missing or unknown, another shape, a value that is not finite, a negative step.
  void LoadState(const TensorMap& state);

  int64_t step() const;  ///< updates made
  Model& model() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace genie_env
