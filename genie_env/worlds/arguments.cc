#include "genie_env/worlds/arguments.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <stdexcept>

#include "genie_env/core/error.h"
#include "genie_env/core/text.h"
#include "genie_env/nn/device.h"

namespace genie_env {
namespace {

[[noreturn]] void RefuseState(const std::string& why) {
  throw std::invalid_argument("the state is another world's, or was reshaped: " + why +
                              "; use one that MakeState of this world made");
}

// Before anything is allocated: the system may hand out more than it has, and end the program when
// it is written to.
void CheckFits(int64_t rows, int64_t bytes_of_row, at::Device device) {
  const std::optional<int64_t> free = FreeMemory(device);
  if (!free || bytes_of_row == 0 || rows <= *free / bytes_of_row) return;
  throw std::invalid_argument(
      std::to_string(rows) + " rows need " +
      BytesText(static_cast<double>(rows) * static_cast<double>(bytes_of_row)) + " of state (" +
      std::to_string(bytes_of_row) + " bytes each), but " + BytesText(static_cast<double>(*free)) +
      " of memory are free on " + device.str() + ": ask for at most " +
      std::to_string(*free / bytes_of_row) + " rows");
}

std::vector<int64_t> OfRows(int64_t rows, const std::vector<int64_t>& shape) {
  std::vector<int64_t> whole{rows};
  whole.insert(whole.end(), shape.begin(), shape.end());
  return whole;
}

}  // namespace

at::Tensor CheckRows(const at::Tensor& rows, const char* name, int64_t count) {
  if (!rows.defined() || rows.dim() != 1) {
    throw std::invalid_argument(std::string(name) + ": got " + Describe(rows) +
                                ", expected int64 [R], the numbers of rows");
  }
  CheckTensor(rows, name, at::kLong, {rows.size(0)});
  at::Tensor host = rows.cpu().contiguous();
  const int64_t* row = host.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < host.size(0); ++i) {
    if (row[i] < 0 || row[i] >= count) {
      throw std::invalid_argument(std::string(name) + "[" + std::to_string(i) + "] is " +
                                  std::to_string(row[i]) + ": there are " + std::to_string(count) +
                                  " rows, numbered from 0");
    }
  }
  return host;
}

std::optional<at::Tensor> CheckSomeRows(const std::optional<at::Tensor>& rows, int64_t count) {
  return rows ? std::optional(CheckRows(*rows, "rows", count)) : std::nullopt;
}

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

void CheckTemperature(double temperature, const std::string& name) {
  using Limits = std::numeric_limits<float>;
  if (temperature >= Limits::min() && temperature <= Limits::max()) return;
  throw std::invalid_argument(name + " is " + NumberText(temperature) +
                              ", expected a finite number above 0 that float32 can hold");
}

at::Tensor CheckTemperatures(const at::Tensor& temperature, int64_t rows) {
  CheckTensor(temperature, "temperature", at::kFloat, {rows});
  at::Tensor host = temperature.cpu().contiguous();
  for (int64_t row = 0; row < rows; ++row) {
    CheckTemperature(host.const_data_ptr<float>()[row], "temperature[" + std::to_string(row) + "]");
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
  std::vector<int64_t> begins;
  for (int64_t row = 0; row < rows; ++row) {
    if (host.const_data_ptr<bool>()[row]) begins.push_back(row);
  }
  BeginningRows beginning{.rows = at::tensor(begins, at::kLong), .counters = {}};
  for (const int64_t row : begins) beginning.counters.push_back(rng[row]);
  return beginning;
}

at::Tensor CheckActions(const at::Tensor& actions, int64_t rows, int64_t count, at::Device device) {
  if (!actions.defined() || actions.scalar_type() != at::kLong ||
      actions.sizes() != at::IntArrayRef{rows}) {
    throw InvalidAction("actions: got " + Describe(actions) + ", expected " +
                        Describe(at::kLong, {rows}));
  }
  const at::Tensor host = actions.cpu().contiguous();
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t action = host.const_data_ptr<int64_t>()[row];
    if (action < 0 || action >= count) {
      throw InvalidAction("actions[" + std::to_string(row) + "] is " + std::to_string(action) +
                          ", expected 0 to " + std::to_string(count - 1));
    }
  }
  return ToDevice(host, device);
}

void CheckStateFields(const WorldState& state, const std::vector<StateField>& expected,
                      at::Device device) {
  const auto& fields = state.fields();
  if (fields.size() != expected.size()) {
    RefuseState("it has " + std::to_string(fields.size()) + " tensors, expected " +
                std::to_string(expected.size()));
  }
  const at::Tensor& first = fields.front().tensor;
  const int64_t rows = first.dim() > 0 ? first.size(0) : 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto& [name, tensor] = fields[i];
    const std::vector<int64_t> shape = OfRows(rows, expected[i].shape);
    if (name != expected[i].name) {
      RefuseState("it has \"" + name + "\", expected \"" + expected[i].name + "\"");
    }
    if (tensor.scalar_type() != expected[i].dtype || tensor.sizes() != at::IntArrayRef(shape)) {
      RefuseState("its \"" + name + "\" is " + Describe(tensor) + ", expected " +
                  Describe(expected[i].dtype, shape));
    }
    if (tensor.device() != device) {
      RefuseState("its \"" + name + "\" lies on " + tensor.device().str() + ", expected " +
                  device.str());
    }
    if (!tensor.is_contiguous()) RefuseState("its \"" + name + "\" is not contiguous");
  }
}

WorldState ZeroState(int64_t rows, const std::vector<StateField>& fields, at::Device device) {
  if (rows < 0) {
    throw std::invalid_argument("rows is " + std::to_string(rows) + ", expected 0 or more");
  }
  CheckFits(rows, BytesOfRow(fields), device);
  std::vector<WorldState::Field> zeros;
  zeros.reserve(fields.size());
  for (const auto& [name, dtype, shape] : fields) {
    zeros.push_back({name, at::zeros(OfRows(rows, shape), at::TensorOptions(device).dtype(dtype))});
  }
  return WorldState(std::move(zeros));
}

int64_t BytesOfRow(const std::vector<StateField>& fields) {
  int64_t bytes = 0;
  for (const auto& [name, dtype, shape] : fields) {
    auto size = static_cast<int64_t>(c10::elementSize(dtype));
    for (const int64_t length : shape) size *= length;
    bytes += size;
  }
  return bytes;
}

at::Tensor DrawStartIndices(const RowCounters& rng, int64_t count) {
  at::Tensor index = at::empty({static_cast<int64_t>(rng.size())}, at::kLong);
  for (size_t i = 0; i < rng.size(); ++i) {
    float uniform = 0;
    FillUniform(rng[i], Stream::kStart, {&uniform, 1});
    index.mutable_data_ptr<int64_t>()[i] =
        std::min(count - 1, static_cast<int64_t>(double{uniform} * static_cast<double>(count)));
  }
  return index;
}

at::Tensor Draw(const RowCounters& rng, Stream stream, int64_t size, Filler fill) {
  const auto rows = static_cast<int64_t>(rng.size());
  at::Tensor draws = at::empty({rows, size}, at::kFloat);
  float* out = draws.mutable_data_ptr<float>();
  at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      fill(rng[row], stream, {out + row * size, static_cast<size_t>(size)});
    }
  });
  return draws;
}

}  // namespace genie_env
