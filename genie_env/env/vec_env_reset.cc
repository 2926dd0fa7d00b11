#include <ATen/ops/arange.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <functional>

#include "genie_env/env/burn_in.h"
#include "genie_env/env/vec_env_impl.h"

namespace genie_env {

at::Tensor VecEnv::Impl::Reset(const ResetOptions& given) {
  CheckReady("reset");
  const at::Tensor mask = given.mask.value_or(at::ones({tracker.rows()}, at::kBool));
  CheckTensor(mask, "reset mask", at::kBool, {tracker.rows()});
  const HostView<bool> view(mask);
  const std::span<const bool> chosen = view.elements();
  if (std::ranges::none_of(chosen, std::identity())) {
    throw std::invalid_argument("reset mask: no row is true, expected at least one to reset");
  }
  CheckSeeds(given.seeds, tracker.rows());
  at::Tensor next_temperature = temperature;
  if (given.temperature) {
    CheckTensor(*given.temperature, "temperature", at::kFloat, {tracker.rows()});
    next_temperature = at::where(mask.cpu(), given.temperature->cpu(), temperature);
    CheckTemperatures(next_temperature, tracker.rows());
  }
  const at::Tensor rows = at::nonzero(mask.cpu()).flatten();
  RowCounters next = tracker.PlanReset(chosen, given.seeds);
  const std::optional<ReadyRows> ready = MakeReady(given, rows, next);
  RunValidating({}, [&] {
    if (ready) {
      WorldState::CopyRows(ready->state, ready->rows, state, rows);
    } else if (given.frames) {
      world->Begin(state, mask, {given.frames}, next);
    } else {
      BeginRows(mask, rows, next);
    }
  });
  return RunMutating({}, [&] {
    tracker.CommitReset(std::move(next), chosen);
    temperature = next_temperature;
    return Returned(ObserveChanged(rows));
  });
}

/// From the environment's starts. mask: bool [N]; rows: where it is true, int64 [R] on the CPU.
void VecEnv::Impl::BeginRows(const at::Tensor& mask, const at::Tensor& rows,
                             const RowCounters& next) {
  if (options.starts) {
    options.starts->Begin(state, rows, next);
  } else {
    world->Begin(state, mask, {}, next);
  }
}

/// What begins neither from the stored starts nor from single frames; nothing is written yet.
std::optional<ReadyRows> VecEnv::Impl::MakeReady(const ResetOptions& given, const at::Tensor& rows,
                                                 RowCounters& next) {
  if (given.snapshot) {
    if (given.frames || given.actions) {
      throw std::invalid_argument(
          "reset: got a snapshot and frames or actions, expected one thing to begin from");
    }
    at::Tensor from = RowsOf(*given.snapshot, rows, tracker.rows());
    return ReadyRows{StateFor(*world, state, *given.snapshot), std::move(from)};
  }
  if (given.actions && !given.frames) {
    throw std::invalid_argument("actions: got them without the frames that they led to");
  }
  const bool several = given.frames && given.frames->defined() && given.frames->dim() == 5;
  if (!several && !given.actions) return std::nullopt;
  const TensorSpec& frame = CheckHasFrames(world->spec(), "reset");
  std::vector<int64_t> shape{tracker.rows(), -1};
  shape.insert(shape.end(), frame.shape.begin(), frame.shape.end());
  CheckTensor(*given.frames, "frames", at::kByte, shape);
  const int64_t steps = given.frames->size(1) - 1;
  if (steps < 0) throw std::invalid_argument("frames: got none a row, expected one or more");
  const ActionSpec& action = world->spec().actions;
  const at::Tensor actions = given.actions.value_or(
      at::zeros(ActionShape(action, {tracker.rows(), 0}), ActionType(action)));
  CheckTensor(actions, "actions", ActionType(action), ActionShape(action, {tracker.rows(), steps}));

  const HostView<int64_t> view(rows);
  RowCounters counters;
  for (const int64_t row : view.elements()) counters.push_back(next[static_cast<size_t>(row)]);
  const std::function<void()> between_frames = [&] {
    const InUserFunction scope(user_function,
                               "a function between the frames of a reset of this environment; call "
                               "it when the reset is over");
    if (given.between_frames) given.between_frames();
  };
  WorldState burnt_in = BurnIn(*world, GatherRows(*given.frames, rows), GatherRows(actions, rows),
                               counters, between_frames);
  for (size_t i = 0; i < counters.size(); ++i) {
    next[static_cast<size_t>(view.elements()[i])] = counters[i];
  }
  return ReadyRows{std::move(burnt_in), at::arange(rows.size(0))};
}

}  // namespace genie_env
