#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "genie_env/core/exclusive.h"

namespace genie_env {

using TensorMap = std::map<std::string, at::Tensor>;

/// The noise of one training step. It is a function of seed and step, so that a resumed run draws
/// what an unbroken one would. Every call has a stream of its own (NoiseStream): no two share a
/// draw.
class TrainingNoise {
 public:
  TrainingNoise(uint64_t seed, uint64_t step) : seed_(seed), step_(step) {}
  TrainingNoise(const TrainingNoise&) = delete;  // a copy would draw the same again
  TrainingNoise& operator=(const TrainingNoise&) = delete;
  TrainingNoise(TrainingNoise&&) = default;
  TrainingNoise& operator=(TrainingNoise&&) = default;

  /// Standard normal draws: float32 of `shape`, on `device`.
  at::Tensor Normal(at::IntArrayRef shape, at::Device device);

  /// Uniform draws in (0, 1).
  at::Tensor Uniform(at::IntArrayRef shape, at::Device device);

 private:
  uint64_t seed_, step_;
  uint32_t uses_ = 0;
};

/// The weights of one linear map or convolution. They are drawn from U(-b, b) with b = 1 /
/// sqrt(fan_in), torch's default, by our own generator: torch's is never touched.
struct Affine : torch::nn::Module {
  /// `layer`: the number of the layer in its network; each layer has its own draws.
  Affine(std::vector<int64_t> weight_shape, int64_t outputs, int64_t fan_in, uint64_t seed,
         uint32_t layer);
  at::Tensor weight, bias;
};

/// A parameter of `shape` drawn from U(-bound, bound).
at::Tensor InitialWeight(at::IntArrayRef shape, double bound, uint64_t seed, uint32_t layer);

/// Makes layers and numbers them, for networks of many layers.
struct LayerNumbers {
  uint64_t seed = 0;
  uint32_t next = 0;

  std::shared_ptr<Affine> Linear(int64_t in, int64_t out);
  at::Tensor Weight(at::IntArrayRef shape, double bound);
};

/// x: [..., in] to [..., out].
at::Tensor Apply(const Affine& linear, const at::Tensor& x);

struct Loss {
  at::Tensor total;                         ///< scalar, minimised
  std::map<std::string, at::Tensor> terms;  ///< detached scalars, reported
};

/// A network with the loss that trains it. Thread-compatible.
class Model : public torch::nn::Module {
 public:
  using torch::nn::Module::Module;

  /// Computes the loss of one batch. Each model documents the tensors of its batch and their
  /// shapes; a missing tensor or a wrong shape throws std::invalid_argument.
  virtual Loss ComputeLoss(const TensorMap& batch, TrainingNoise& noise) = 0;

  /// Called without gradients after every update, with the noise of its step. A network changes
  /// here the parameters that the optimiser does not learn. Its memory of earlier batches is in
  /// buffers, which are checkpointed.
  virtual void AfterUpdate(TrainingNoise& /*noise*/) {}

  /// Where several threads may call: the calls in progress of the network and of its trainers,
  /// which a caller enters by itself.
  Exclusive& calls() const { return calls_; }

  /// The number of the gradients that the parameters hold. All trainers of a network share them:
  /// one that makes others, or changes the weights, makes the earlier ones void.
  int64_t gradients() const { return gradients_; }
  int64_t VoidGradients() { return ++gradients_; }

 private:
  int64_t gradients_ = 0;
  mutable Exclusive calls_{"network"};
};

/// tensors[name]. Throws std::invalid_argument where it is missing; `what` names the tensors.
const at::Tensor& Take(const TensorMap& tensors, const std::string& name,
                       const std::string& what = "the batch");

/// All parameters, or all buffers, by name, without copies.
TensorMap ParametersOf(const torch::nn::Module& network);
TensorMap BuffersOf(const torch::nn::Module& network);

/// Copies `weights` into the network. Throws std::invalid_argument, before anything is written, on
/// a name that is missing or unknown, a wrong shape, or a value that is not finite.
void LoadParameters(torch::nn::Module& network, const TensorMap& weights);

}  // namespace genie_env
