#include "genie_env/env/vec_env.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <functional>
#include <span>
#include <stdexcept>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/env/burn_in.h"
#include "genie_env/env/complete_options.h"
#include "genie_env/env/row_ledger.h"
#include "genie_env/env/snapshot_parts.h"
#include "genie_env/worlds/arguments.h"

namespace genie_env {
namespace {

/// A tensor's elements, copied when it lies elsewhere than on the CPU or not in a row.
template <typename T>
class HostView {
 public:
  explicit HostView(const at::Tensor& tensor) : tensor_(tensor.to(at::kCPU).contiguous()) {}
  std::span<const T> elements() const {
    return {tensor_.const_data_ptr<T>(), static_cast<size_t>(tensor_.numel())};
  }

 private:
  at::Tensor tensor_;
};

using Seeds = std::optional<std::vector<uint64_t>>;

void CheckSeeds(const Seeds& seeds, int64_t rows) {
  if (!seeds || std::ssize(*seeds) == rows) return;
  throw std::invalid_argument("seeds: got " + std::to_string(seeds->size()) +
                              ", expected one a row: " + std::to_string(rows));
}

void CheckNoRepeats(std::span<const int64_t> rows) {
  std::vector<int64_t> sorted(rows.begin(), rows.end());
  std::ranges::sort(sorted);
  if (const auto twice = std::ranges::adjacent_find(sorted); twice != sorted.end()) {
    throw std::invalid_argument("rows: got " + std::to_string(*twice) +
                                " twice, expected rows without repeats");
  }
}

/// Which rows of a snapshot go into `rows` (int64 [R]): its only one, or those of `otherwise`.
at::Tensor RowsOf(const Snapshot& snapshot, const at::Tensor& otherwise, int64_t expected) {
  if (snapshot.rows() == 1) return at::zeros_like(otherwise);
  if (snapshot.rows() == expected) return otherwise;
  throw std::invalid_argument(
      "snapshot: it has " + std::to_string(snapshot.rows()) +
      " rows, expected 1 for all or one for each: " + std::to_string(expected));
}

/// Rows of a state that were made ready beside the environment's own.
struct ReadyRows {
  WorldState state;
  at::Tensor rows;  ///< int64 [R], on the CPU
};

}  // namespace

struct VecEnv::Impl {
  Impl(std::shared_ptr<const World> given, VecEnvOptions given_options)
      : world(std::move(given)),
        options(Completed(std::move(given_options), world.get())),
        state(world->MakeState(options.num_envs)),
        temperature(at::full({options.num_envs}, *options.temperature, at::kFloat)),
        ledger(options.num_envs, *options.seed) {}

  at::Tensor Reset(const ResetOptions& given);
  VecEnvStep Step(const at::Tensor& actions);
  VecEnvStep Follow(const at::Tensor& actions, const at::Tensor& frames);
  at::Tensor Render(const std::optional<at::Tensor>& rows) const;
  Snapshot TakeSnapshot(const std::optional<at::Tensor>& rows) const;
  at::Tensor Restore(const Snapshot& snapshot, const std::optional<at::Tensor>& rows,
                     const Seeds& seeds);
  void Keep(const at::Tensor& rows);
  void SetTemperature(const at::Tensor& given);

  at::Tensor Observe() const { return world->Observe(state, options.observation); }

  /// bool [N], on the world's device.
  at::Tensor Nowhere() const {
    return at::zeros({ledger.rows()}, at::dtype(at::kBool).device(world->device()));
  }

  void CheckAnyRow(const std::string& call) const {
    if (ledger.rows() > 0) return;
    throw std::logic_error(call + ": no row is left, Keep dropped the last; make another one");
  }

  void CheckOutside(const std::string& call) const {
    if (!asking) return;
    throw std::logic_error(call + ": called by a reward or termination function of this " +
                           "environment; call it when the step is over");
  }

  void CheckReady(const std::string& call) const {
    CheckOutside(call);
    CheckAnyRow(call);
  }

  /// What a step begins with where functions of the user's must judge it, and may throw.
  struct Before {
    WorldState state;
    RowLedger ledger;
    at::Tensor observation;
  };

  std::optional<Before> Remember() const {
    if (!options.reward_fn && !options.termination_fn) return std::nullopt;
    return Before{state.Clone(), ledger, Observe()};
  }

  /// A call threw half way: as it was before, or without episodes.
  void GiveUp(const std::optional<Before>& before) {
    if (!before) {
      ledger.Lose();
      return;
    }
    for (size_t i = 0; i < state.fields().size(); ++i) state[i].copy_(before->state[i]);
    ledger = before->ledger;
  }

  /// The first call that writes. It may refuse its arguments: then nothing was written.
  template <typename Call>
  auto First(const std::optional<Before>& before, const Call& call) {
    try {
      return call();
    } catch (const std::invalid_argument&) {
      throw;
    } catch (...) {
      GiveUp(before);
      throw;
    }
  }

  /// What follows it; whatever is thrown here leaves a state that is half written.
  template <typename Call>
  auto Then(const std::optional<Before>& before, const Call& call) {
    try {
      return call();
    } catch (...) {
      GiveUp(before);
      throw;
    }
  }

  std::optional<ReadyRows> MakeReady(const ResetOptions& given, const at::Tensor& rows,
                                     RowCounters& next) const;
  VecEnvStep Judged(const WorldStep& step, const std::optional<Before>& before,
                    const at::Tensor& actions);
  at::Tensor Ask(const StepFunction& function, const std::string& name, at::ScalarType dtype,
                 const Before& before, const at::Tensor& actions, const at::Tensor& observation);
  at::Tensor BeyondLimits(const VecEnvStep& step) const;
  void BeginEnded(VecEnvStep& step);

  std::shared_ptr<const World> world;
  VecEnvOptions options;
  WorldState state;
  at::Tensor temperature;  ///< float32 [N], on the CPU, where the world checks it
  RowLedger ledger;
  bool asking = false;  ///< a function of the user's is running
};

at::Tensor VecEnv::Impl::Reset(const ResetOptions& given) {
  CheckReady("reset");
  const at::Tensor mask = given.mask.value_or(at::ones({ledger.rows()}, at::kBool));
  CheckTensor(mask, "reset mask", at::kBool, {ledger.rows()});
  const HostView<bool> view(mask);
  const std::span<const bool> chosen = view.elements();
  if (std::ranges::none_of(chosen, std::identity())) {
    throw std::invalid_argument("reset mask: no row is true, expected at least one to reset");
  }
  CheckSeeds(given.seeds, ledger.rows());
  at::Tensor next_temperature = temperature;
  if (given.temperature) {
    CheckTensor(*given.temperature, "temperature", at::kFloat, {ledger.rows()});
    next_temperature = at::where(mask.cpu(), given.temperature->cpu(), temperature);
    CheckTemperatures(next_temperature, ledger.rows());
  }
  const at::Tensor rows = at::nonzero(mask.cpu()).flatten();
  RowCounters next = ledger.ToBegin(chosen, given.seeds);
  const std::optional<ReadyRows> ready = MakeReady(given, rows, next);
  First({}, [&] {
    if (ready) {
      WorldState::CopyRows(ready->state, ready->rows, state, rows);
    } else {
      world->Begin(state, mask, {given.frames}, next);
    }
  });
  return Then({}, [&] {
    ledger.Begun(std::move(next), chosen);
    temperature = next_temperature;
    return Observe();
  });
}

/// What begins neither from the stored starts nor from single frames; nothing is written yet.
std::optional<ReadyRows> VecEnv::Impl::MakeReady(const ResetOptions& given, const at::Tensor& rows,
                                                 RowCounters& next) const {
  if (given.snapshot) {
    if (given.frames || given.actions) {
      throw std::invalid_argument(
          "reset: got a snapshot and frames or actions, expected one thing to begin from");
    }
    at::Tensor from = RowsOf(*given.snapshot, rows, ledger.rows());
    return ReadyRows{StateFor(*world, state, *given.snapshot), std::move(from)};
  }
  if (given.actions && !given.frames) {
    throw std::invalid_argument("actions: got them without the frames that they led to");
  }
  const bool several = given.frames && given.frames->defined() && given.frames->dim() == 5;
  if (!several && !given.actions) return std::nullopt;
  std::vector<int64_t> shape{ledger.rows(), -1};
  shape.insert(shape.end(), world->spec().frame.shape.begin(), world->spec().frame.shape.end());
  CheckTensor(*given.frames, "frames", at::kByte, shape);
  const int64_t steps = given.frames->size(1) - 1;
  if (steps < 0) throw std::invalid_argument("frames: got none a row, expected one or more");
  const at::Tensor actions = given.actions.value_or(at::zeros({ledger.rows(), 0}, at::kLong));
  CheckTensor(actions, "actions", at::kLong, {ledger.rows(), steps});

  const HostView<int64_t> view(rows);
  RowCounters counters;
  for (const int64_t row : view.elements()) counters.push_back(next[static_cast<size_t>(row)]);
  const auto chosen = [&](const at::Tensor& tensor) {
    return tensor.index_select(0, rows.to(tensor.device()));
  };
  WorldState burnt_in = BurnIn(*world, chosen(*given.frames), chosen(actions), counters);
  for (size_t i = 0; i < counters.size(); ++i) {
    next[static_cast<size_t>(view.elements()[i])] = counters[i];
  }
  return ReadyRows{std::move(burnt_in), at::arange(rows.size(0))};
}

VecEnvStep VecEnv::Impl::Step(const at::Tensor& actions) {
  CheckReady("step");
  ledger.CheckBegun("step");
  CheckTensor(actions, "actions", at::kLong, {ledger.rows()});
  if (options.autoreset_mode != AutoresetMode::kNextStep) {
    ledger.CheckNoneEnded("step", options.autoreset_mode == AutoresetMode::kDisabled
                                      ? "autoreset is disabled"
                                      : "autoreset came in the step that ended it");
  }
  const std::vector<int64_t> ended = ledger.Ended();

  // A world steps every row. Those that begin take a step that Begin overwrites, and their action
  // is ignored, whatever it is.
  RowCounters next = ledger.ToStep();
  at::Tensor begins;  // bool [N], on the CPU
  at::Tensor taken = actions;
  if (!ended.empty()) {
    begins = at::zeros({ledger.rows()}, at::kBool);
    for (const int64_t row : ended) begins.mutable_data_ptr<bool>()[row] = true;
    taken = actions.masked_fill(begins.to(actions.device()), 0);
  }
  const std::optional<Before> before = Remember();
  const WorldStep dreamt =
      First(before, [&] { return world->Step(state, taken, temperature, next); });
  return Then(before, [&] {
    if (!ended.empty()) world->Begin(state, begins, {}, next);
    VecEnvStep step = Judged(dreamt, before, taken);
    if (!ended.empty()) {
      step.began = begins.to(world->device());
      step.reward = step.reward.masked_fill(step.began, 0);
      step.terminated = step.terminated.masked_fill(step.began, false);
      step.surprise = step.surprise.masked_fill(step.began, 0);
      if (options.out_of_support) {
        step.out_of_support = step.out_of_support.masked_fill(step.began, 0);
      }
    }
    const HostView<bool> terminated(step.terminated);
    const at::Tensor truncated = BeyondLimits(step);
    if (ledger.Stepped(
            std::move(next), terminated.elements(), *options.max_episode_steps,
            {truncated.mutable_data_ptr<bool>(), static_cast<size_t>(truncated.numel())})) {
      step.truncated = truncated.to(world->device());
    }
    if (options.autoreset_mode == AutoresetMode::kSameStep) BeginEnded(step);
    return step;
  });
}

/// What the world's step was, as the user sees it: nothing has begun or been truncated yet.
VecEnvStep VecEnv::Impl::Judged(const WorldStep& step, const std::optional<Before>& before,
                                const at::Tensor& actions) {
  VecEnvStep judged{
      .observation = Observe(),
      .reward = step.reward,
      .terminated = step.terminated,
      .truncated = Nowhere(),
      .surprise = step.surprise,
      .out_of_support = options.out_of_support ? world->OutOfSupport(state) : at::Tensor(),
      .began = Nowhere()};
  if (options.reward_fn) {
    judged.reward =
        Ask(options.reward_fn, "reward_fn", at::kFloat, *before, actions, judged.observation);
  }
  if (options.termination_fn) {
    judged.terminated = Ask(options.termination_fn, "termination_fn", at::kBool, *before, actions,
                            judged.observation);
  }
  return judged;
}

at::Tensor VecEnv::Impl::Ask(const StepFunction& function, const std::string& name,
                             at::ScalarType dtype, const Before& before, const at::Tensor& actions,
                             const at::Tensor& observation) {
  struct Asking {
    explicit Asking(bool& flag) : flag_(flag) { flag_ = true; }
    ~Asking() { flag_ = false; }
    bool& flag_;
  } const scope(asking);
  const at::Tensor answer = function(before.observation, actions, observation);
  CheckTensor(answer, "what " + name + " gave", dtype, {ledger.rows()});
  return answer.detach().to(world->device(), dtype, /*non_blocking=*/false, /*copy=*/true);
}

/// bool [N] on the CPU: whose surprise or distance from the training data is above its limit.
at::Tensor VecEnv::Impl::BeyondLimits(const VecEnvStep& step) const {
  at::Tensor beyond = Nowhere();
  if (options.max_surprise) beyond = beyond | (step.surprise > *options.max_surprise);
  if (options.max_out_of_support) {
    beyond = beyond | (step.out_of_support > *options.max_out_of_support);
  }
  return (beyond & ~step.began).cpu();
}

/// Autoreset in the same step.
void VecEnv::Impl::BeginEnded(VecEnvStep& step) {
  const std::vector<int64_t> ended = ledger.Ended();
  if (ended.empty()) return;
  const at::Tensor begins = at::zeros({ledger.rows()}, at::kBool);
  for (const int64_t row : ended) begins.mutable_data_ptr<bool>()[row] = true;
  const HostView<bool> chosen(begins);
  RowCounters next = ledger.ToBegin(chosen.elements(), std::nullopt);
  world->Begin(state, begins, {}, next);
  ledger.Begun(std::move(next), chosen.elements());
  step.began = begins.to(world->device());
  step.final_observation = std::exchange(step.observation, Observe());
}

VecEnvStep VecEnv::Impl::Follow(const at::Tensor& actions, const at::Tensor& frames) {
  CheckReady("follow");
  ledger.CheckBegun("follow");
  CheckTensor(actions, "actions", at::kLong, {ledger.rows()});
  ledger.CheckNoneEnded("follow", "following resets no row");
  RowCounters next = ledger.ToFollow();
  const std::optional<Before> before = Remember();
  const WorldStep seen = First(before, [&] { return world->Follow(state, actions, frames, next); });
  return Then(before, [&] {
    ledger.Followed(std::move(next));
    return Judged(seen, before, actions);
  });
}

at::Tensor VecEnv::Impl::Render(const std::optional<at::Tensor>& rows) const {
  CheckAnyRow("render");
  const at::Tensor asked =
      CheckRows(rows.value_or(at::arange(ledger.rows())), "rows", ledger.rows());
  ledger.CheckBegun("render", HostView<int64_t>(asked).elements());
  return world->Render(state, asked);
}

Snapshot VecEnv::Impl::TakeSnapshot(const std::optional<at::Tensor>& rows) const {
  CheckReady("snapshot");
  const at::Tensor asked =
      CheckRows(rows.value_or(at::arange(ledger.rows())), "rows", ledger.rows());
  if (asked.numel() == 0) throw std::invalid_argument("rows: got none, expected at least one");
  const HostView<int64_t> view(asked);
  ledger.CheckBegun("snapshot", view.elements());
  return Snapshot({.world = world->spec().name,
                   .fingerprint = world->spec().fingerprint,
                   .state = state.Select(asked),
                   .ledger = ledger.Select(view.elements()),
                   .temperature = temperature.index_select(0, asked)});
}

at::Tensor VecEnv::Impl::Restore(const Snapshot& snapshot, const std::optional<at::Tensor>& rows,
                                 const Seeds& seeds) {
  CheckReady("restore");
  const at::Tensor into =
      CheckRows(rows.value_or(at::arange(ledger.rows())), "rows", ledger.rows());
  const HostView<int64_t> view(into);
  CheckNoRepeats(view.elements());
  const at::Tensor from = RowsOf(snapshot, at::arange(into.numel()), into.numel());
  CheckSeeds(seeds, into.numel());
  const WorldState source = StateFor(*world, state, snapshot);
  First({}, [&] { WorldState::CopyRows(source, from, state, into); });
  return Then({}, [&] {
    const Snapshot::Parts& parts = snapshot.parts();
    ledger.Resume(view.elements(), parts.ledger, HostView<int64_t>(from).elements(), seeds);
    temperature = temperature.index_copy(0, into, parts.temperature.index_select(0, from));
    return Observe();
  });
}

void VecEnv::Impl::Keep(const at::Tensor& rows) {
  CheckOutside("keep");
  const at::Tensor kept = CheckRows(rows, "rows", ledger.rows());
  const HostView<int64_t> view(kept);
  CheckNoRepeats(view.elements());
  // Everything new is made before anything is replaced.
  WorldState kept_state = state.Select(kept);
  at::Tensor kept_temperature = temperature.index_select(0, kept);
  RowLedger kept_ledger = ledger.Select(view.elements());
  state = std::move(kept_state);
  temperature = std::move(kept_temperature);
  ledger = std::move(kept_ledger);
}

void VecEnv::Impl::SetTemperature(const at::Tensor& given) {
  CheckOutside("set_temperature");
  CheckTensor(given, "temperature", at::kFloat, {ledger.rows()});
  const HostView<float> view(given);
  for (const float element : view.elements()) CheckTemperature(element, "temperature");
  temperature = given.to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
}

VecEnv::VecEnv(std::shared_ptr<const World> world, VecEnvOptions options) {
  const FrozenScope scope;
  impl_ = std::make_unique<Impl>(std::move(world), std::move(options));
}

VecEnv::~VecEnv() = default;
VecEnv::VecEnv(VecEnv&&) noexcept = default;
VecEnv& VecEnv::operator=(VecEnv&&) noexcept = default;

const World& VecEnv::world() const { return *impl_->world; }
const VecEnvOptions& VecEnv::options() const { return impl_->options; }
int64_t VecEnv::num_envs() const { return impl_->ledger.rows(); }

at::Tensor VecEnv::Reset(const ResetOptions& options) {
  const FrozenScope scope;
  return impl_->Reset(options);
}

VecEnvStep VecEnv::Step(const at::Tensor& actions) {
  const FrozenScope scope;
  return impl_->Step(actions);
}

VecEnvStep VecEnv::Follow(const at::Tensor& actions, const at::Tensor& frames) {
  const FrozenScope scope;
  return impl_->Follow(actions, frames);
}

at::Tensor VecEnv::Render(const std::optional<at::Tensor>& rows) const {
  const FrozenScope scope;
  return impl_->Render(rows);
}

Snapshot VecEnv::TakeSnapshot(const std::optional<at::Tensor>& rows) const {
  const FrozenScope scope;
  return impl_->TakeSnapshot(rows);
}

at::Tensor VecEnv::Restore(const Snapshot& snapshot, const std::optional<at::Tensor>& rows,
                           const std::optional<std::vector<uint64_t>>& seeds) {
  const FrozenScope scope;
  return impl_->Restore(snapshot, rows, seeds);
}

at::Tensor VecEnv::Fork(int64_t row, const at::Tensor& into_rows,
                        const std::optional<std::vector<uint64_t>>& seeds) {
  const FrozenScope scope;
  return impl_->Restore(impl_->TakeSnapshot(at::tensor({row}, at::kLong)), into_rows, seeds);
}

void VecEnv::Keep(const at::Tensor& rows) {
  const FrozenScope scope;
  impl_->Keep(rows);
}

void VecEnv::SetTemperature(const at::Tensor& temperature) {
  const FrozenScope scope;
  impl_->SetTemperature(temperature);
}

}  // namespace genie_env
