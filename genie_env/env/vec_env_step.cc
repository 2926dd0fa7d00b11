#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include "genie_env/core/text.h"
#include "genie_env/env/vec_env_impl.h"

namespace genie_env {
namespace {

// `beginning`: rows whose reward is ignored, in order.
void CheckRewards(const at::Tensor& reward, const std::vector<int64_t>& beginning) {
  const HostView<float> view(reward);
  const std::vector<int64_t> wrong = RowsNotFinite(view.elements(), beginning);
  if (wrong.empty()) return;
  throw std::invalid_argument(
      "what reward_fn gave: " + NumberText(view.elements()[static_cast<size_t>(wrong[0])]) +
      " in " + NameRows(wrong) + ", expected finite numbers");
}

}  // namespace

VecEnvStep VecEnv::Impl::Step(const at::Tensor& actions, const at::Tensor& out) {
  CheckReady("step");
  tracker.CheckBegun("step");
  CheckActionTensor(actions);
  if (options.autoreset_mode != AutoresetMode::kNextStep) {
    tracker.CheckNoneEnded("step", options.autoreset_mode == AutoresetMode::kDisabled
                                       ? "autoreset is disabled"
                                       : "autoreset came in the step that ended it");
  }
  const WantedObservation wanted(options.observation, out);
  CheckWanted(wanted, world->spec(), tracker.rows(), world->device());
  const std::vector<int64_t> ended = tracker.Ended();

  // A world steps every row. Those that begin take a step that Begin overwrites, and their action
  // is ignored, whatever it is.
  RowCounters next = tracker.PlanStep();
  at::Tensor begins;  // bool [N], on the CPU
  at::Tensor taken = actions;
  if (!ended.empty()) {
    begins = MaskOf(ended);
    taken = WithAnyAction(actions, world->spec().actions, begins);
  }
  const std::optional<BeforeStep> before = SaveForRollback(ended);
  WorldStep dreamt =
      RunValidating(before, [&] { return world->Step(state, taken, temperature, next, wanted); });
  VecEnvStep step = RunMutating(before, [&] {
    if (out.defined() && !dreamt.observation.is_same(out)) {
      dreamt.observation = at::Tensor(out).copy_(dreamt.observation);
    }
    CheckFinite(dreamt, world->spec(), "step", ended);
    if (!ended.empty()) {
      BeginRows(begins, at::tensor(ended, at::kLong), next);
      ObserveRows(dreamt.observation, ended);
    }
    return ApplyUserFunctions(dreamt, before, taken, ended);
  });
  // From here on rows may begin that `before` has not saved: nothing is rolled back any more.
  return RunMutating({}, [&] {
    if (!ended.empty()) {
      step.began = begins.to(world->device());
      step.reward.masked_fill_(step.began, 0);
      step.terminated.masked_fill_(step.began, false);
      step.surprise.masked_fill_(step.began, 0);
      for (at::Tensor* score : {&step.latent_distance, &step.termination_probability}) {
        if (score->defined()) score->masked_fill_(step.began, 0);
      }
    }
    const HostView<bool> terminated(step.terminated);
    const at::Tensor truncated = BeyondLimits(step);
    if (tracker.CommitStep(
            std::move(next), terminated.elements(), *options.max_episode_steps,
            {truncated.mutable_data_ptr<bool>(), static_cast<size_t>(truncated.numel())})) {
      step.truncated = truncated.to(world->device());
    }
    if (options.autoreset_mode == AutoresetMode::kSameStep) ResetEndedRows(step);
    Returned(step.observation);
    return step;
  });
}

/// The world's step with the user's reward and termination in place of the world's: nothing has
/// begun or been truncated yet.
VecEnvStep VecEnv::Impl::ApplyUserFunctions(const WorldStep& step,
                                            const std::optional<BeforeStep>& before,
                                            const at::Tensor& actions,
                                            const std::vector<int64_t>& beginning) {
  VecEnvStep result{
      .observation = step.observation,
      .reward = step.reward,
      .terminated = step.terminated,
      .truncated = AllFalse(),
      .surprise = step.surprise,
      .latent_distance = options.latent_distance ? world->LatentDistance(state) : at::Tensor(),
      .termination_probability =
          options.termination_fn ? at::Tensor() : step.termination_probability,
      .began = AllFalse()};
  if (!HasUserFunctions()) return result;
  // Copies, which both may write to.
  const at::Tensor copied_actions = actions.clone(), following = step.observation.clone();
  const auto ask = [&](const StepFunction& function, const std::string& name,
                       at::ScalarType dtype) {
    const InUserFunction scope(user_function,
                               "a reward or termination function of this environment; call it when "
                               "the step is over");
    const at::Tensor answer = function(before->observation, copied_actions, following);
    CheckTensor(answer, "what " + name + " gave", dtype, {tracker.rows()});
    return answer.detach().to(world->device(), dtype, /*non_blocking=*/false, /*copy=*/true);
  };
  if (options.reward_fn) {
    result.reward = ask(options.reward_fn, "reward_fn", at::kFloat);
    CheckRewards(result.reward, beginning);
  }
  if (options.termination_fn) {
    result.terminated = ask(options.termination_fn, "termination_fn", at::kBool);
  }
  return result;
}

/// bool [N] on the CPU: whose surprise or distance from the training data is above its limit.
at::Tensor VecEnv::Impl::BeyondLimits(const VecEnvStep& step) const {
  if (!options.max_surprise && !options.max_latent_distance) {
    return Filled(tracker.rows(), false, at::kCPU);
  }
  at::Tensor beyond = AllFalse();
  if (options.max_surprise) beyond = beyond | (step.surprise > *options.max_surprise);
  if (options.max_latent_distance) {
    beyond = beyond | (step.latent_distance > *options.max_latent_distance);
  }
  return (beyond & ~step.began).cpu();
}

/// Autoreset in the same step.
void VecEnv::Impl::ResetEndedRows(VecEnvStep& step) {
  const std::vector<int64_t> ended = tracker.Ended();
  if (ended.empty()) return;
  const at::Tensor begins = MaskOf(ended);
  const HostView<bool> chosen(begins);
  RowCounters next = tracker.PlanReset(chosen.elements(), std::nullopt);
  BeginRows(begins, at::tensor(ended, at::kLong), next);
  tracker.CommitReset(std::move(next), chosen.elements());
  step.began = begins.to(world->device());
  step.final_observation = step.observation.clone();
  ObserveRows(step.observation, ended);
}

void VecEnv::Impl::CheckActionTensor(const at::Tensor& actions) const {
  const ActionSpec& spec = world->spec().actions;
  CheckTensor(actions, "actions", ActionType(spec), ActionShape(spec, {tracker.rows()}));
}

/// bool [N], on the CPU.
at::Tensor VecEnv::Impl::MaskOf(const std::vector<int64_t>& rows) const {
  at::Tensor mask = at::zeros({tracker.rows()}, at::kBool);
  auto* chosen = mask.mutable_data_ptr<bool>();
  for (const int64_t row : rows) chosen[row] = true;
  return mask;
}

/// Writes rows that have begun since into an observation.
void VecEnv::Impl::ObserveRows(const at::Tensor& observation,
                               const std::vector<int64_t>& rows) const {
  const at::Tensor index = at::tensor(rows, at::kLong);
  ScatterRows(observation, index, world->Observe(state, options.observation, index));
}

VecEnvStep VecEnv::Impl::Follow(const at::Tensor& actions, const at::Tensor& frames) {
  CheckReady("follow");
  tracker.CheckBegun("follow");
  CheckActionTensor(actions);
  tracker.CheckNoneEnded("follow", "following resets no row");
  RowCounters next = tracker.PlanFollow();
  const std::optional<BeforeStep> before = SaveForRollback({});
  const WorldStep followed = RunValidating(
      before, [&] { return world->Follow(state, actions, frames, next, options.observation); });
  return RunMutating(before, [&] {
    CheckFinite(followed, world->spec(), "follow");
    tracker.CommitFollow(std::move(next));
    VecEnvStep step = ApplyUserFunctions(followed, before, actions, {});
    Returned(step.observation);
    return step;
  });
}

}  // namespace genie_env
