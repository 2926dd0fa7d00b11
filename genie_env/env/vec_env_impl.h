#pragma once

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "genie_env/env/episode_tracker.h"
#include "genie_env/env/resolve_options.h"
#include "genie_env/env/snapshot_parts.h"
#include "genie_env/env/step_rollback.h"
#include "genie_env/env/vec_env.h"
#include "genie_env/tensor/check_tensor.h"
#include "genie_env/tensor/filled.h"
#include "genie_env/tensor/frozen_scope.h"
#include "genie_env/tensor/gather_scatter.h"
#include "genie_env/worlds/check_arguments.h"

namespace genie_env {

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

void CheckSeeds(const Seeds& seeds, int64_t rows);

/// Which rows of a snapshot go into `rows` (int64 [R]): its only one, or those of `otherwise`.
at::Tensor RowsOf(const Snapshot& snapshot, const at::Tensor& otherwise, int64_t expected);

/// Rows of a state that were made ready beside the environment's own.
struct ReadyRows {
  WorldState state;
  at::Tensor rows;  ///< int64 [R], on the CPU
};

/// vec_env_reset.cc says how rows begin, vec_env_step.cc how they go on, vec_env.cc the rest.
struct VecEnv::Impl {
  Impl(std::shared_ptr<const World> given, VecEnvOptions given_options)
      : world(std::move(given)),
        options(ResolveOptions(std::move(given_options), world.get())),
        state(world->MakeState(options.num_envs)),
        temperature(at::full({options.num_envs}, *options.temperature, at::kFloat)),
        tracker(options.num_envs, *options.seed) {}

  at::Tensor Reset(const ResetOptions& given);
  VecEnvStep Step(const at::Tensor& actions, const at::Tensor& out);
  VecEnvStep Follow(const at::Tensor& actions, const at::Tensor& frames);
  at::Tensor Render(const std::optional<at::Tensor>& rows) const;
  Snapshot TakeSnapshot(const std::optional<at::Tensor>& rows) const;
  at::Tensor Restore(const Snapshot& snapshot, const std::optional<at::Tensor>& rows,
                     const Seeds& seeds);
  void Keep(const at::Tensor& rows);
  void SetTemperature(const at::Tensor& given);

  /// bool [N], on the world's device.
  at::Tensor AllFalse() const { return Filled(tracker.rows(), false, world->device()); }

  void CheckAnyRow(const std::string& call) const {
    if (tracker.rows() > 0) return;
    throw std::logic_error(call + ": no row is left, Keep dropped the last; make another one");
  }

  void CheckOutside(const std::string& call) const {
    if (user_function == nullptr) return;
    throw std::logic_error(call + ": called by " + user_function);
  }

  void CheckReady(const std::string& call) const {
    CheckOutside(call);
    CheckAnyRow(call);
  }

  /// Where the environment stood before a step that the user's functions judge, and may refuse.
  struct BeforeStep {
    StepRollback rollback;
    EpisodeTracker tracker;
    at::Tensor observation;
  };

  bool HasUserFunctions() const { return options.reward_fn || options.termination_fn; }

  /// A function of the user's runs, for the scope: it may look at the environment, not move it.
  struct InUserFunction {
    InUserFunction(const char*& running, const char* function) : running_(running) {
      running_ = function;
    }
    ~InUserFunction() { running_ = nullptr; }
    const char*& running_;
  };

  /// Empty without such functions. `beginning`: the rows that begin in this step.
  std::optional<BeforeStep> SaveForRollback(const std::vector<int64_t>& beginning) {
    rollback_bytes = 0;
    if (!HasUserFunctions()) return std::nullopt;
    if (!last_observation.defined()) last_observation = world->Observe(state, options.observation);
    // The functions may write to it: it is remembered no longer.
    BeforeStep before{StepRollback(*world, state, at::tensor(beginning, at::kLong)), tracker,
                      std::exchange(last_observation, at::Tensor())};
    rollback_bytes = before.rollback.bytes();
    return before;
  }

  /// Keeps a copy of an observation of all rows, which its caller may write to: for the functions
  /// that ask for the one before, and where rows are decoded, so that those that do not change need
  /// not be decoded again. A copy of features would cost each step more than it saves.
  at::Tensor Returned(const at::Tensor& observation) {
    const std::optional<TensorSpec>& frame = world->spec().frame;
    if (HasUserFunctions() || (frame && frame->name == options.observation)) {
      last_observation = observation.clone();
    }
    return observation;
  }

  /// The observation of all rows, of which only `rows` (int64 [R]) have changed since the last one.
  at::Tensor ObserveChanged(const at::Tensor& rows) const {
    if (!last_observation.defined() || rows.numel() == tracker.rows()) {
      return world->Observe(state, options.observation);
    }
    at::Tensor observation = last_observation.clone();
    ScatterRows(observation, rows, world->Observe(state, options.observation, rows));
    return observation;
  }

  /// A call threw half way: everything is as before it, or no row has an episode.
  void Rollback(const std::optional<BeforeStep>& before) {
    if (!before) {
      tracker.Invalidate();
      last_observation = at::Tensor();
      return;
    }
    before->rollback.Restore(state);
    tracker = before->tracker;
  }

  /// Runs the first call that writes. It may refuse its arguments: then nothing was written.
  template <typename Call>
  auto RunValidating(const std::optional<BeforeStep>& before, const Call& call) {
    try {
      return call();
    } catch (const std::invalid_argument&) {
      throw;
    } catch (...) {
      Rollback(before);
      throw;
    }
  }

  /// Runs what follows it; whatever is thrown here leaves a state that is half written.
  template <typename Call>
  auto RunMutating(const std::optional<BeforeStep>& before, const Call& call) {
    try {
      return call();
    } catch (...) {
      Rollback(before);
      throw;
    }
  }

  std::optional<ReadyRows> MakeReady(const ResetOptions& given, const at::Tensor& rows,
                                     RowCounters& next);
  VecEnvStep ApplyUserFunctions(const WorldStep& step, const std::optional<BeforeStep>& before,
                                const at::Tensor& actions, const std::vector<int64_t>& beginning);
  at::Tensor BeyondLimits(const VecEnvStep& step) const;
  void ResetEndedRows(VecEnvStep& step);
  void BeginRows(const at::Tensor& mask, const at::Tensor& rows, const RowCounters& next);
  void CheckActionTensor(const at::Tensor& actions) const;
  at::Tensor MaskOf(const std::vector<int64_t>& rows) const;
  void ObserveRows(const at::Tensor& observation, const std::vector<int64_t>& rows) const;

  std::shared_ptr<const World> world;
  VecEnvOptions options;
  WorldState state;
  at::Tensor temperature;  ///< float32 [N], on the CPU, where the world checks it
  EpisodeTracker tracker;
  /// Which of the user's functions runs, and when it is over, as an error says it.
  const char* user_function = nullptr;
  at::Tensor last_observation;  ///< of all rows, as it was returned; undefined where unknown
  int64_t rollback_bytes = 0;   ///< what the last step saved to be able to be taken back
};

}  // namespace genie_env
