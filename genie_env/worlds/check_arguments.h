#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <string>
#include <vector>

#include "genie_env/core/random.h"
#include "genie_env/tensor/check_tensor.h"
#include "genie_env/worlds/world.h"
#include "genie_env/worlds/world_state.h"

namespace genie_env {

/// Throws std::invalid_argument unless the world has an observation of that name.
void CheckObservation(const std::string& observation, const WorldSpec& spec);

/// The spec of the world's pictures. Throws std::invalid_argument, its text beginning with `call`,
/// where it has none.
const TensorSpec& CheckHasFrames(const WorldSpec& spec, const std::string& call);

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

/// Throws std::invalid_argument unless the world has this observation, and `out`, where it is
/// given, can hold it for `rows` rows on `device`.
void CheckWanted(const WantedObservation& observation, const WorldSpec& spec, int64_t rows,
                 at::Device device);

/// The rows whose number is not finite, in order, but for those of `ignored`, which are in order.
std::vector<int64_t> RowsNotFinite(std::span<const float> numbers,
                                   std::span<const int64_t> ignored);

/// Throws std::runtime_error, its text beginning with `call`, where the surprise or the reward of a
/// row is not finite: its state has overflowed. `ignored`: rows of which it does not matter, in
/// order.
void CheckFinite(const WorldStep& step, const WorldSpec& spec, const std::string& call,
                 std::span<const int64_t> ignored = {});

/// The dtype of actions.
at::ScalarType ActionType(const ActionSpec& spec);

/// The shape of actions, [*leading, *shape of one].
std::vector<int64_t> ActionShape(const ActionSpec& spec, std::vector<int64_t> leading);

/// Throws InvalidAction unless these are actions of `rows` rows: numbers that there are, or points
/// within the box but for rounding, which stay as they are. Returns a copy on `device`, contiguous:
/// int64 [rows], counted from 0 whatever spec.start is, or float32 [rows, *box shape].
at::Tensor CheckActions(const at::Tensor& actions, int64_t rows, const ActionSpec& spec,
                        at::Device device);

/// The actions of all rows, with some valid one in those where `mask` (bool [rows]) is true.
at::Tensor WithAnyAction(const at::Tensor& actions, const ActionSpec& spec, const at::Tensor& mask);

}  // namespace genie_env
