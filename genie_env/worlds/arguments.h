#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "genie_env/core/random.h"
#include "genie_env/nn/check_tensor.h"
#include "genie_env/worlds/world.h"
#include "genie_env/worlds/world_state.h"

namespace genie_env {

/// int64 [R] with 0 <= row < count, or std::invalid_argument. Returns a contiguous copy or view of
/// it on the CPU.
at::Tensor CheckRows(const at::Tensor& rows, const char* name, int64_t count);

/// The same, called "rows", where there are any.
std::optional<at::Tensor> CheckSomeRows(const std::optional<at::Tensor>& rows, int64_t count);

/// Throws std::invalid_argument unless the world has an observation of that name.
void CheckObservation(const std::string& observation, const WorldSpec& spec);

/// Throws std::invalid_argument unless it is above 0 and float32 holds it in full precision (then
/// its inverse is finite too). `name` is what the error calls it.
void CheckTemperature(double temperature, const std::string& name);

/// Throws std::invalid_argument unless `temperature` is float32 [rows], each as CheckTemperature
/// wants it. Returns it on the CPU, contiguous.
at::Tensor CheckTemperatures(const at::Tensor& temperature, int64_t rows);

/// Throws std::invalid_argument unless there is one counter a row.
void CheckCounters(const RowCounters& rng, int64_t rows);

/// The rows that begin.
struct BeginningRows {
  at::Tensor rows;       ///< int64 [R], on the CPU
  RowCounters counters;  ///< theirs
};

/// Those where `mask` is true. Throws std::invalid_argument unless it is bool [rows], and there is
/// one counter a row.
BeginningRows CheckBegin(const at::Tensor& mask, const RowCounters& rng, int64_t rows);

/// int64 [rows] with 0 <= action < count, or InvalidAction. Returns it on `device`, contiguous.
at::Tensor CheckActions(const at::Tensor& actions, int64_t rows, int64_t count, at::Device device);

/// One tensor of a state.
struct StateField {
  std::string name;
  at::ScalarType dtype;
  std::vector<int64_t> shape;  ///< of one row
};

/// Throws std::invalid_argument unless `state` has these tensors, contiguous, on `device`. The
/// kernels read and write raw memory: whatever a caller has done to the tensors of its state
/// (Python can reshape them in place) must show here.
void CheckStateFields(const WorldState& state, const std::vector<StateField>& expected,
                      at::Device device);

/// A state of such tensors, all zero. Throws std::invalid_argument, with the figures, where the
/// device has less memory free than it takes.
WorldState ZeroState(int64_t rows, const std::vector<StateField>& fields, at::Device device);

/// Bytes of one row of it.
int64_t BytesOfRow(const std::vector<StateField>& fields);

/// The stored start that each row's kStart draw names, of `count`: int64 [N].
at::Tensor DrawStartIndices(const RowCounters& rng, int64_t count);

/// FillUniform or FillNormal.
using Filler = void (*)(const RowCounter&, Stream, std::span<float>);

/// float32 [N, size] on the CPU: elements 0 .. size - 1 of the stream of every row.
at::Tensor Draw(const RowCounters& rng, Stream stream, int64_t size, Filler fill);

/// While it lives, this thread computes as a frozen world does: without gradients, and in the
/// world's own precision whatever autocast region the caller is in. Nor does it stay in the
/// caller's torch.inference_mode: no caller could train on observations made there, and a state
/// made outside could not be written.
class FrozenScope {
 private:
  c10::InferenceMode no_inference_{false};  // first: it switches gradients on
  c10::AutoGradMode no_gradients_{false};
  c10::impl::ExcludeDispatchKeyGuard no_autocast_{c10::autocast_dispatch_keyset};
};

}  // namespace genie_env
