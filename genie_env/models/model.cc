#include "genie_env/models/model.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linear.h>
#include <c10/core/GradMode.h>
#include <c10/util/irange.h>

#include <cmath>
#include <stdexcept>

#include "genie_env/core/random.h"
#include "genie_env/core/text.h"

namespace genie_env {
namespace {

std::span<float> Elements(const at::Tensor& tensor) {
  return {tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

RowCounter Counter(uint64_t seed, uint64_t step) {
  return {seed, static_cast<uint32_t>(step >> 32), static_cast<uint32_t>(step)};
}

}  // namespace

at::Tensor TrainingNoise::Normal(at::IntArrayRef shape, at::Device device) {
  at::Tensor noise = at::empty(shape, at::kFloat);
  FillNormal(Counter(seed_, step_), NoiseStream(uses_++), Elements(noise));
  return noise.to(device);
}

at::Tensor TrainingNoise::Uniform(at::IntArrayRef shape, at::Device device) {
  at::Tensor noise = at::empty(shape, at::kFloat);
  FillUniform(Counter(seed_, step_), NoiseStream(uses_++), Elements(noise));
  return noise.to(device);
}

at::Tensor InitialWeight(at::IntArrayRef shape, double bound, uint64_t seed, uint32_t layer) {
  at::Tensor weight = at::empty(shape, at::kFloat);
  FillUniform({seed, layer, 0}, Stream::kInitialWeights, Elements(weight));
  return weight.sub_(0.5).mul_(2 * bound);
}

Affine::Affine(std::vector<int64_t> weight_shape, int64_t outputs, int64_t fan_in, uint64_t seed,
               uint32_t layer) {
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  weight = register_parameter("weight", InitialWeight(weight_shape, bound, seed, 2 * layer));
  bias = register_parameter("bias", InitialWeight({outputs}, bound, seed, 2 * layer + 1));
}

std::shared_ptr<Affine> LayerNumbers::Linear(int64_t in, int64_t out) {
  return std::make_shared<Affine>(std::vector<int64_t>{out, in}, out, in, seed, next++);
}

at::Tensor LayerNumbers::Weight(at::IntArrayRef shape, double bound) {
  return InitialWeight(shape, bound, seed, 2 * next++);  // an Affine takes two numbers
}

at::Tensor Apply(const Affine& linear, const at::Tensor& x) {
  return at::linear(x, linear.weight, linear.bias);
}

const at::Tensor& Take(const TensorMap& tensors, const std::string& name, const std::string& what) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw std::invalid_argument(what + " has no \"" + name + "\"");
  return found->second;
}

TensorMap ParametersOf(const torch::nn::Module& network) {
  TensorMap parameters;
  for (const auto& item : network.named_parameters()) {
    parameters.emplace(item.key(), item.value());
  }
  return parameters;
}

TensorMap BuffersOf(const torch::nn::Module& network) {
  TensorMap buffers;
  for (const auto& item : network.named_buffers()) {
    buffers.emplace(item.key(), item.value());
  }
  return buffers;
}

void LoadParameters(torch::nn::Module& network, const TensorMap& weights) {
  const TensorMap parameters = ParametersOf(network);
  for (const auto& [name, parameter] : parameters) {
    const auto found = weights.find(name);
    if (found == weights.end()) {
      throw std::invalid_argument("the weights have no \"" + name + "\"");
    }
    if (found->second.sizes() != parameter.sizes()) {
      throw std::invalid_argument("\"" + name + "\" has shape " + ShapeText(found->second.sizes()) +
                                  ", the network expects " + ShapeText(parameter.sizes()));
    }
    if (!found->second.isfinite().all().item<bool>()) {
      throw std::invalid_argument("\"" + name + "\" holds a value that is not finite");
    }
  }
  for (const auto& [name, weight] : weights) {
    if (!parameters.contains(name)) {
      throw std::invalid_argument("\"" + name + "\" is no parameter of this network");
    }
  }
  const c10::AutoGradMode no_gradients(false);
  for (const auto& [name, parameter] : parameters) {
    at::Tensor(parameter).copy_(weights.at(name));
  }
}

}  // namespace genie_env
