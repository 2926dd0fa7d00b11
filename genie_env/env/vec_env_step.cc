#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include "genie_env/env/vec_env_impl.h"
#include "genie_env/tensor/gather_scatter.h"

namespace genie_env {

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
    begins = MaskOf(ended);
    taken = actions.masked_fill(begins.to(actions.device()), 0);
  }
  const std::optional<Before> before = Remember();
  WorldStep dreamt = First(
      before, [&] { return world->Step(state, taken, temperature, next, options.observation); });
  return Then(before, [&] {
    if (!ended.empty()) world->Begin(state, begins, {}, next);
    if (!dreamt.observation.defined()) {
      dreamt.observation = Observe();
    } else if (!ended.empty()) {
      ObserveAgain(dreamt.observation, ended);
    }
    VecEnvStep step = Judged(dreamt, before, taken);
    if (!ended.empty()) {
      step.began = begins.to(world->device());
      step.reward.masked_fill_(step.began, 0);
      step.terminated.masked_fill_(step.began, false);
      step.surprise.masked_fill_(step.began, 0);
      if (options.out_of_support) step.out_of_support.masked_fill_(step.began, 0);
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
      .observation = step.observation,
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
  if (!options.max_surprise && !options.max_out_of_support) {
    return at::zeros({ledger.rows()}, at::kBool);
  }
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
  const at::Tensor begins = MaskOf(ended);
  const HostView<bool> chosen(begins);
  RowCounters next = ledger.ToBegin(chosen.elements(), std::nullopt);
  world->Begin(state, begins, {}, next);
  ledger.Begun(std::move(next), chosen.elements());
  step.began = begins.to(world->device());
  step.final_observation = std::exchange(step.observation, step.observation.clone());
  ObserveAgain(step.observation, ended);
}

/// bool [N], on the CPU.
at::Tensor VecEnv::Impl::MaskOf(const std::vector<int64_t>& rows) const {
  at::Tensor mask = at::zeros({ledger.rows()}, at::kBool);
  for (const int64_t row : rows) mask.mutable_data_ptr<bool>()[row] = true;
  return mask;
}

/// Writes rows into an observation again that have begun since.
void VecEnv::Impl::ObserveAgain(const at::Tensor& observation,
                                const std::vector<int64_t>& rows) const {
  const at::Tensor index = at::tensor(rows, at::kLong);
  ScatterRows(observation, index, world->Observe(state, options.observation, index));
}

VecEnvStep VecEnv::Impl::Follow(const at::Tensor& actions, const at::Tensor& frames) {
  CheckReady("follow");
  ledger.CheckBegun("follow");
  CheckTensor(actions, "actions", at::kLong, {ledger.rows()});
  ledger.CheckNoneEnded("follow", "following resets no row");
  RowCounters next = ledger.ToFollow();
  const std::optional<Before> before = Remember();
  WorldStep seen = First(before, [&] { return world->Follow(state, actions, frames, next); });
  return Then(before, [&] {
    ledger.Followed(std::move(next));
    seen.observation = Observe();
    return Judged(seen, before, actions);
  });
}

}  // namespace genie_env
