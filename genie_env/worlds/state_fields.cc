#include "genie_env/worlds/state_fields.h"

#include <ATen/ops/zeros.h>

#include <optional>
#include <stdexcept>

#include "genie_env/core/text.h"
#include "genie_env/tensor/check_tensor.h"
#include "genie_env/tensor/device.h"

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

}  // namespace genie_env
