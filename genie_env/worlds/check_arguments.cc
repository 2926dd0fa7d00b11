#include "genie_env/worlds/check_arguments.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>

#include "genie_env/core/error.h"
#include "genie_env/core/text.h"
#include "genie_env/tensor/device.h"

namespace genie_env {
namespace {

at::ScalarType ScalarTypeOf(DType dtype) {
  switch (dtype) {
    case DType::kUInt8:
      return at::kByte;
    case DType::kInt64:
      return at::kLong;
    case DType::kFloat32:
      return at::kFloat;
  }
  throw std::logic_error("an unknown DType");
}

/// Throws InvalidAction where a number lies outside its bounds by more than rounding.
void CheckWithin(float number, const ActionBox& box, int64_t row, int64_t index) {
  const auto at = static_cast<size_t>(index);
  const float low = box.low[at], high = box.high[at];
  const float rounding =
      4 * std::numeric_limits<float>::epsilon() * std::max(std::abs(low), std::abs(high));
  if (number >= low - rounding && number <= high + rounding) return;
  std::string place = std::to_string(row);
  if (!box.shape.empty()) place += ", " + std::to_string(index);
  throw InvalidAction("actions[" + place + "] is " + NumberText(number) + ", expected " +
                      NumberText(low) + " to " + NumberText(high));
}

bool IsTemperature(double number) {
  using Limits = std::numeric_limits<float>;
  return number >= Limits::min() && number <= Limits::max();
}

}  // namespace

void CheckObservation(const std::string& observation, const WorldSpec& spec) {
  if (std::ranges::find(spec.observations, observation, &TensorSpec::name) !=
      spec.observations.end()) {
    return;
  }
  std::string known;
  for (const TensorSpec& o : spec.observations) known += (known.empty() ? "" : ", ") + o.name;
  throw std::invalid_argument("observation is \"" + observation + "\", but the world \"" +
                              spec.name + "\" has " + known);
}

void CheckWanted(const WantedObservation& observation, const WorldSpec& spec, int64_t rows,
                 at::Device device) {
  CheckObservation(observation.kind, spec);
  const at::Tensor& out = observation.out;
  if (!out.defined()) return;
  const TensorSpec& wanted =
      *std::ranges::find(spec.observations, observation.kind, &TensorSpec::name);
  std::vector<int64_t> shape{rows};
  shape.insert(shape.end(), wanted.shape.begin(), wanted.shape.end());
  CheckTensor(out, "out", ScalarTypeOf(wanted.dtype), shape);
  if (!out.is_contiguous() || out.device() != device) {
    throw std::invalid_argument(
        "out: got a tensor that is " + std::string(out.is_contiguous() ? "" : "not contiguous, ") +
        "on " + out.device().str() + ", expected a contiguous one on " + device.str());
  }
}

const TensorSpec& CheckHasFrames(const WorldSpec& spec, const std::string& call) {
  if (spec.frame) return *spec.frame;
  throw std::invalid_argument(call + ": the world \"" + spec.name +
                              "\" has no pictures; leave out frames, pixels and rendering");
}

void CheckTemperature(double temperature, const std::string& name) {
  if (IsTemperature(temperature)) return;
  throw std::invalid_argument(name + " is " + NumberText(temperature) +
                              ", expected a finite number above 0 that float32 can hold");
}

at::Tensor CheckTemperatures(const at::Tensor& temperature, int64_t rows) {
  CheckTensor(temperature, "temperature", at::kFloat, {rows});
  at::Tensor host = temperature.cpu().contiguous();
  const auto* elements = host.const_data_ptr<float>();
  for (int64_t row = 0; row < rows; ++row) {
    const float element = elements[row];
    if (IsTemperature(element)) continue;  // first: a text for each row would cost more than a step
    CheckTemperature(element, "temperature[" + std::to_string(row) + "]");
  }
  return host;
}

void CheckCounters(const RowCounters& rng, int64_t rows) {
  if (static_cast<int64_t>(rng.size()) != rows) {
    throw std::invalid_argument("rng has " + std::to_string(rng.size()) +
                                " counters, expected one for each of " + std::to_string(rows) +
                                " rows");
  }
}

BeginningRows CheckBegin(const at::Tensor& mask, const RowCounters& rng, int64_t rows) {
  CheckTensor(mask, "mask", at::kBool, {rows});
  CheckCounters(rng, rows);
  const at::Tensor host = mask.cpu().contiguous();
  const auto* chosen = host.const_data_ptr<bool>();
  std::vector<int64_t> begins;
  for (int64_t row = 0; row < rows; ++row) {
    if (chosen[row]) begins.push_back(row);
  }
  BeginningRows beginning{.rows = at::tensor(begins, at::kLong), .counters = {}};
  beginning.counters.reserve(begins.size());
  for (const int64_t row : begins) beginning.counters.push_back(rng[row]);
  return beginning;
}

std::vector<int64_t> RowsNotFinite(std::span<const float> numbers,
                                   std::span<const int64_t> ignored) {
  std::vector<int64_t> wrong;
  for (size_t row = 0; row < numbers.size(); ++row) {
    if (std::isfinite(numbers[row])) continue;
    const auto index = static_cast<int64_t>(row);
    if (!std::ranges::binary_search(ignored, index)) wrong.push_back(index);
  }
  return wrong;
}

void CheckFinite(const WorldStep& step, const WorldSpec& spec, const std::string& call,
                 std::span<const int64_t> ignored) {
  for (const auto& [name, values] :
       {std::pair{"surprise", &step.surprise}, {"reward", &step.reward}}) {
    const at::Tensor host = values->cpu().contiguous();
    const std::span numbers(host.const_data_ptr<float>(), static_cast<size_t>(host.numel()));
    const std::vector<int64_t> wrong = RowsNotFinite(numbers, ignored);
    if (wrong.empty()) continue;
    throw std::runtime_error(call + ": the state of " + NameRows(wrong) + " is no longer finite (" +
                             name + " " + NumberText(numbers[static_cast<size_t>(wrong[0])]) +
                             "): the weights of the world \"" + spec.name + "\" overflow in " +
                             spec.dtype +
                             "; load it with dtype \"float32\", or train and freeze it again");
  }
}

at::ScalarType ActionType(const ActionSpec& spec) { return spec.box ? at::kFloat : at::kLong; }

std::vector<int64_t> ActionShape(const ActionSpec& spec, std::vector<int64_t> leading) {
  if (spec.box) leading.insert(leading.end(), spec.box->shape.begin(), spec.box->shape.end());
  return leading;
}

at::Tensor CheckActions(const at::Tensor& actions, int64_t rows, const ActionSpec& spec,
                        at::Device device) {
  const std::vector<int64_t> shape = ActionShape(spec, {rows});
  if (!actions.defined() || actions.scalar_type() != ActionType(spec) || actions.sizes() != shape) {
    throw InvalidAction("actions: got " + Describe(actions) + ", expected " +
                        Describe(ActionType(spec), shape));
  }
  // A copy: the kernels read what was checked, whatever another thread writes meanwhile.
  const at::Tensor given = actions.cpu().contiguous();
  const at::Tensor host = at::empty(given.sizes(), given.options());
  if (spec.box) {
    const ActionBox& box = *spec.box;
    auto* numbers = host.mutable_data_ptr<float>();
    std::copy_n(given.const_data_ptr<float>(), given.numel(), numbers);
    for (int64_t i = 0; i < host.numel(); ++i) {
      CheckWithin(numbers[i], box, i / box.numel(), i % box.numel());
    }
    return ToDevice(host, device);
  }
  auto* counted = host.mutable_data_ptr<int64_t>();
  std::copy_n(given.const_data_ptr<int64_t>(), rows, counted);
  for (int64_t row = 0; row < rows; ++row) {
    int64_t& action = counted[row];
    if (action < spec.start || action - spec.start >= spec.count()) {
      throw InvalidAction("actions[" + std::to_string(row) + "] is " + std::to_string(action) +
                          ", expected " + std::to_string(spec.start) + " to " +
                          std::to_string(spec.start + spec.count() - 1));
    }
    action -= spec.start;
  }
  return ToDevice(host, device);
}

at::Tensor WithAnyAction(const at::Tensor& actions, const ActionSpec& spec,
                         const at::Tensor& mask) {
  if (!spec.box) return actions.masked_fill(mask.to(actions.device()), spec.start);
  std::vector<int64_t> of_rows(static_cast<size_t>(actions.dim()), 1);
  of_rows[0] = actions.size(0);
  const at::Tensor low = at::tensor(spec.box->low, at::kFloat).view(spec.box->shape);
  return at::where(mask.to(actions.device()).view(of_rows), low.to(actions.device()), actions);
}

}  // namespace genie_env
