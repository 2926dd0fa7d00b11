#include "genie_env/worlds/termination.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sigmoid.h>

#include <cmath>
#include <stdexcept>

#include "genie_env/tensor/device.h"
#include "genie_env/tensor/draws.h"
#include "genie_env/tensor/filled.h"

namespace genie_env {
namespace {

// On the CPU by one function for every row: torch computes the last few with another.
at::Tensor Sigmoid(const at::Tensor& logit) {
  if (!logit.is_cpu()) return at::sigmoid(logit);
  const at::Tensor given = logit.contiguous();
  at::Tensor probability = at::empty_like(given);
  const float* from = given.const_data_ptr<float>();
  float* to = probability.mutable_data_ptr<float>();
  for (int64_t i = 0; i < given.numel(); ++i) {
    to[i] = static_cast<float>(1 / (1 + std::exp(-double{from[i]})));
  }
  return probability;
}

/// bool [N]: where the row's draw lies below its probability.
at::Tensor Happens(const at::Tensor& probability, const RowCounters& rng) {
  const at::Tensor drawn = Draw(rng, Stream::kTermination, 1, FillUniformRows);
  if (!probability.is_cpu()) return ToDevice(drawn, probability.device()).squeeze(1) < probability;
  const at::Tensor given = probability.contiguous();
  at::Tensor happens = at::empty(given.sizes(), at::kBool);
  const auto *uniform = drawn.const_data_ptr<float>(), *bound = given.const_data_ptr<float>();
  auto* to = happens.mutable_data_ptr<bool>();
  for (int64_t i = 0; i < given.numel(); ++i) to[i] = uniform[i] < bound[i];
  return happens;
}

constexpr const char *kTermination = "termination", *kSampled = "sampled",
                     *kThresholded = "thresholded";

}  // namespace

OptionSpec TerminationOptionSpec() {
  return {.name = kTermination,
          .type = OptionType::kChoice,
          .choices = {kSampled, kThresholded},
          .description =
              "how an episode ends: sampled from the termination probability, or "
              "thresholded at one half"};
}

Termination TerminationInForce(Termination stored, const OptionValues& given,
                               const std::string& name) {
  const auto found = given.find(kTermination);
  if (found == given.end()) return stored;
  if (stored == Termination::kNever) {
    throw std::invalid_argument("option 'termination' was given, but no episode of the world \"" +
                                name + "\" ever terminates, as in its recordings: leave it out");
  }
  return found->second == OptionValue(kSampled) ? Termination::kSampled : Termination::kThresholded;
}

std::optional<Option> TerminationOption(Termination stored, Termination in_force) {
  if (stored == Termination::kNever) return std::nullopt;
  const auto name = [](Termination termination) -> std::string {
    return termination == Termination::kSampled ? kSampled : kThresholded;
  };
  return Option{
      .spec = TerminationOptionSpec(), .default_value = name(stored), .value = name(in_force)};
}

Ending EndingOf(Termination termination, const at::Tensor& logit, const RowCounters& rng) {
  if (termination == Termination::kNever) {
    return {.terminated = Filled(logit.size(0), false, logit.device()), .probability = {}};
  }
  const at::Tensor probability = Sigmoid(logit);
  // By the logit: the probability of one just above 0 rounds to one half.
  if (termination == Termination::kThresholded) return {logit > 0, probability};
  return EndingOfProbability(termination, probability, rng);
}

Ending EndingOfProbability(Termination termination, const at::Tensor& probability,
                           const RowCounters& rng) {
  if (termination == Termination::kThresholded) return {probability > 0.5, probability};
  return {Happens(probability, rng), probability};
}

}  // namespace genie_env
