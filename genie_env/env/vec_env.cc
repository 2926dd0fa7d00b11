#include "genie_env/env/vec_env.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "genie_env/core/text.h"
#include "genie_env/env/vec_env_impl.h"

namespace genie_env {
namespace {

void CheckNoRepeats(std::span<const int64_t> rows) {
  std::vector<int64_t> sorted(rows.begin(), rows.end());
  std::ranges::sort(sorted);
  if (const auto twice = std::ranges::adjacent_find(sorted); twice != sorted.end()) {
    throw std::invalid_argument("rows: got " + std::to_string(*twice) +
                                " twice, expected rows without repeats");
  }
}

/// The next episodes of a snapshot begin from what its environment's began from.
void CheckStarts(const Snapshot& snapshot, const StartBank* bank) {
  const std::string own = bank == nullptr ? "" : bank->hash(), taken = snapshot.parts().starts;
  if (own == taken) return;
  const auto describe = [](const std::string& hash) {
    return hash.empty() ? "the world's own starts" : "the starts " + Shortened(hash.substr(0, 12));
  };
  throw std::invalid_argument("snapshot: it was taken where episodes begin from " +
                              describe(taken) + ", but those of this environment begin from " +
                              describe(own) + "; restore it in one that has the same");
}

}  // namespace

void CheckSeeds(const Seeds& seeds, int64_t rows) {
  if (!seeds || std::ssize(*seeds) == rows) return;
  throw std::invalid_argument("seeds: got " + std::to_string(seeds->size()) +
                              ", expected one a row: " + std::to_string(rows));
}

at::Tensor RowsOf(const Snapshot& snapshot, const at::Tensor& otherwise, int64_t expected) {
  if (snapshot.rows() == 1) return at::zeros_like(otherwise);
  if (snapshot.rows() == expected) return otherwise;
  throw std::invalid_argument(
      "snapshot: it has " + std::to_string(snapshot.rows()) +
      " rows, expected 1 for all or one for each: " + std::to_string(expected));
}

at::Tensor VecEnv::Impl::Render(const std::optional<at::Tensor>& rows) const {
  CheckAnyRow("render");
  const at::Tensor asked =
      CheckRows(rows.value_or(at::arange(tracker.rows())), "rows", tracker.rows());
  tracker.CheckBegun("render", HostView<int64_t>(asked).elements());
  return world->Observe(state, CheckHasFrames(world->spec(), "render").name, asked);
}

Snapshot VecEnv::Impl::TakeSnapshot(const std::optional<at::Tensor>& rows) const {
  CheckReady("snapshot");
  const at::Tensor asked =
      CheckRows(rows.value_or(at::arange(tracker.rows())), "rows", tracker.rows());
  if (asked.numel() == 0) throw std::invalid_argument("rows: got none, expected at least one");
  const HostView<int64_t> view(asked);
  tracker.CheckBegun("snapshot", view.elements());
  return Snapshot({.world = world->spec().name,
                   .fingerprint = world->spec().fingerprint,
                   .dtype = world->spec().dtype,
                   .options = TextsOf(world->spec().options),
                   .starts = options.starts ? options.starts->hash() : "",
                   .state = state.Select(asked),
                   .tracker = tracker.Select(view.elements()),
                   .temperature = temperature.index_select(0, asked)});
}

at::Tensor VecEnv::Impl::Restore(const Snapshot& snapshot, const std::optional<at::Tensor>& rows,
                                 const Seeds& seeds) {
  CheckReady("restore");
  const at::Tensor into =
      CheckRows(rows.value_or(at::arange(tracker.rows())), "rows", tracker.rows());
  const HostView<int64_t> view(into);
  CheckNoRepeats(view.elements());
  const at::Tensor from = RowsOf(snapshot, at::arange(into.numel()), into.numel());
  CheckSeeds(seeds, into.numel());
  const WorldState source = StateFor(*world, state, snapshot);
  CheckStarts(snapshot, options.starts.get());
  RunValidating({}, [&] { WorldState::CopyRows(source, from, state, into); });
  return RunMutating({}, [&] {
    const Snapshot::Parts& parts = snapshot.parts();
    tracker.Resume(view.elements(), parts.tracker, HostView<int64_t>(from).elements(), seeds);
    temperature = temperature.index_copy(0, into, parts.temperature.index_select(0, from));
    return Returned(ObserveChanged(into));
  });
}

void VecEnv::Impl::Keep(const at::Tensor& rows) {
  CheckOutside("keep");
  const at::Tensor kept = CheckRows(rows, "rows", tracker.rows());
  const HostView<int64_t> view(kept);
  CheckNoRepeats(view.elements());
  // Everything new is made before anything is replaced.
  WorldState kept_state = state.Select(kept);
  at::Tensor kept_temperature = temperature.index_select(0, kept);
  EpisodeTracker kept_tracker = tracker.Select(view.elements());
  at::Tensor kept_observation;
  if (last_observation.defined()) kept_observation = GatherRows(last_observation, kept);
  state = std::move(kept_state);
  temperature = std::move(kept_temperature);
  tracker = std::move(kept_tracker);
  last_observation = std::move(kept_observation);
}

void VecEnv::Impl::SetTemperature(const at::Tensor& given) {
  CheckOutside("set_temperature");
  CheckTensor(given, "temperature", at::kFloat, {tracker.rows()});
  const HostView<float> view(given);
  const std::string name = "temperature";
  for (const float element : view.elements()) CheckTemperature(element, name);
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
int64_t VecEnv::num_envs() const { return impl_->tracker.rows(); }
int64_t VecEnv::rollback_bytes() const { return impl_->rollback_bytes; }
at::Tensor VecEnv::temperature() const { return impl_->temperature.clone(); }

at::Tensor VecEnv::Reset(const ResetOptions& options) {
  const FrozenScope scope;
  return impl_->Reset(options);
}

VecEnvStep VecEnv::Step(const at::Tensor& actions, const at::Tensor& out) {
  const FrozenScope scope;
  return impl_->Step(actions, out);
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
