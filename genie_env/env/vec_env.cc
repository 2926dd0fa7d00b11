#include "genie_env/env/vec_env.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <functional>
#include <random>
#include <span>
#include <stdexcept>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/env/row_ledger.h"
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

/// `options` with every default filled in, checked.
VecEnvOptions Completed(VecEnvOptions options, const World* world) {
  if (world == nullptr) throw std::invalid_argument("world is null, expected a loaded world");
  const WorldSpec& spec = world->spec();
  if (options.num_envs < 1) {
    throw std::invalid_argument("num_envs is " + std::to_string(options.num_envs) +
                                ", expected 1 or more");
  }
  if (options.observation.empty()) options.observation = spec.observations.at(0).name;
  if (std::ranges::find(spec.observations, options.observation, &TensorSpec::name) ==
      spec.observations.end()) {
    std::string known;
    for (const TensorSpec& o : spec.observations) known += (known.empty() ? "" : ", ") + o.name;
    throw std::invalid_argument("observation is \"" + options.observation + "\", but the world \"" +
                                spec.name + "\" has " + known);
  }
  if (!options.temperature) options.temperature = spec.temperature;
  CheckTemperature(*options.temperature, "temperature");
  if (!options.max_episode_steps) options.max_episode_steps = spec.max_episode_steps;
  if (*options.max_episode_steps < 0) {
    throw std::invalid_argument("max_episode_steps is " +
                                std::to_string(*options.max_episode_steps) +
                                ", expected 1 or more, or 0 for no limit");
  }
  if (!options.seed) {
    std::random_device system;
    options.seed = uint64_t{system()} << 32 | system();
  }
  return options;
}

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

  /// The first call that writes. It may refuse its arguments: then nothing was written.
  template <typename Call>
  auto First(const Call& call) {
    try {
      return call();
    } catch (const std::invalid_argument&) {
      throw;
    } catch (...) {
      ledger.Lose();
      throw;
    }
  }

  /// What follows it; whatever is thrown here leaves a state that is half written.
  template <typename Call>
  auto Then(const Call& call) {
    try {
      return call();
    } catch (...) {
      ledger.Lose();
      throw;
    }
  }

  std::shared_ptr<const World> world;
  VecEnvOptions options;
  WorldState state;
  at::Tensor temperature;  ///< float32 [N], on the CPU, where the world checks it
  RowLedger ledger;
};

at::Tensor VecEnv::Impl::Reset(const ResetOptions& given) {
  CheckAnyRow("reset");
  const at::Tensor mask = given.mask.value_or(at::ones({ledger.rows()}, at::kBool));
  CheckTensor(mask, "reset mask", at::kBool, {ledger.rows()});
  const HostView<bool> view(mask);
  const std::span<const bool> chosen = view.elements();
  if (std::ranges::none_of(chosen, std::identity())) {
    throw std::invalid_argument("reset mask: no row is true, expected at least one to reset");
  }
  if (given.seeds && given.seeds->size() != chosen.size()) {
    throw std::invalid_argument("seeds: got " + std::to_string(given.seeds->size()) +
                                ", expected one a row: " + std::to_string(chosen.size()));
  }
  RowCounters next = ledger.ToBegin(chosen, given.seeds);
  First([&] { world->Begin(state, mask, {given.frames}, next); });
  return Then([&] {
    ledger.Begun(std::move(next), chosen);
    return Observe();
  });
}

VecEnvStep VecEnv::Impl::Step(const at::Tensor& actions) {
  CheckAnyRow("step");
  ledger.CheckBegun("step");
  CheckTensor(actions, "actions", at::kLong, {ledger.rows()});
  if (options.autoreset_mode == AutoresetMode::kDisabled) {
    ledger.CheckNoneEnded("step", "autoreset is disabled");
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
  WorldStep dreamt = First([&] { return world->Step(state, taken, temperature, next); });
  return Then([&] {
    at::Tensor began;
    if (ended.empty()) {
      began = Nowhere();
    } else {
      world->Begin(state, begins, {}, next);
      began = begins.to(world->device());
      dreamt.reward = dreamt.reward.masked_fill(began, 0);
      dreamt.terminated = dreamt.terminated.masked_fill(began, false);
      dreamt.surprise = dreamt.surprise.masked_fill(began, 0);
    }
    const HostView<bool> terminated(dreamt.terminated);
    at::Tensor truncated = at::empty({ledger.rows()}, at::kBool);
    const bool any_truncated = ledger.Stepped(
        std::move(next), terminated.elements(), *options.max_episode_steps,
        {truncated.mutable_data_ptr<bool>(), static_cast<size_t>(truncated.numel())});
    return VecEnvStep{.observation = Observe(),
                      .reward = dreamt.reward,
                      .terminated = dreamt.terminated,
                      .truncated = any_truncated ? truncated.to(world->device()) : Nowhere(),
                      .surprise = dreamt.surprise,
                      .began = began};
  });
}

VecEnvStep VecEnv::Impl::Follow(const at::Tensor& actions, const at::Tensor& frames) {
  CheckAnyRow("follow");
  ledger.CheckBegun("follow");
  CheckTensor(actions, "actions", at::kLong, {ledger.rows()});
  ledger.CheckNoneEnded("follow", "following resets no row");
  RowCounters next = ledger.ToFollow();
  const WorldStep seen = First([&] { return world->Follow(state, actions, frames, next); });
  return Then([&] {
    ledger.Followed(std::move(next));
    return VecEnvStep{.observation = Observe(),
                      .reward = seen.reward,
                      .terminated = seen.terminated,
                      .truncated = Nowhere(),
                      .surprise = seen.surprise,
                      .began = Nowhere()};
  });
}

at::Tensor VecEnv::Impl::Render(const std::optional<at::Tensor>& rows) const {
  CheckAnyRow("render");
  const at::Tensor asked =
      CheckRows(rows.value_or(at::arange(ledger.rows())), "rows", ledger.rows());
  ledger.CheckBegun("render", HostView<int64_t>(asked).elements());
  return world->Render(state, asked);
}

void VecEnv::Impl::Keep(const at::Tensor& rows) {
  const at::Tensor kept = CheckRows(rows, "rows", ledger.rows());
  const HostView<int64_t> view(kept);
  std::vector<int64_t> sorted(view.elements().begin(), view.elements().end());
  std::ranges::sort(sorted);
  if (const auto twice = std::ranges::adjacent_find(sorted); twice != sorted.end()) {
    throw std::invalid_argument("rows: got " + std::to_string(*twice) +
                                " twice, expected rows without repeats");
  }
  // Everything new is made before anything is replaced.
  WorldState kept_state = state.Select(kept);
  at::Tensor kept_temperature = temperature.index_select(0, kept);
  RowLedger kept_ledger = ledger.Select(view.elements());
  state = std::move(kept_state);
  temperature = std::move(kept_temperature);
  ledger = std::move(kept_ledger);
}

void VecEnv::Impl::SetTemperature(const at::Tensor& given) {
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

void VecEnv::Keep(const at::Tensor& rows) {
  const FrozenScope scope;
  impl_->Keep(rows);
}

void VecEnv::SetTemperature(const at::Tensor& temperature) {
  const FrozenScope scope;
  impl_->SetTemperature(temperature);
}

}  // namespace genie_env
