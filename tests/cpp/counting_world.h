#pragma once

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "genie_env/core/error.h"
#include "genie_env/worlds/world.h"

namespace genie_env {

/// A world of small integers: a row counts its steps, and its episode ends at `ends_at`. A followed
/// frame sets the count to its first byte, and so does a frame to begin from. The observation is
/// everything that a row was last told: {count, seed, episode, step, action}, with action -1 where
/// an episode began.
class CountingWorld : public World {
 public:
  enum class Failure { kNone, kBegin, kStep, kObserve };

  explicit CountingWorld(int64_t ends_at, int64_t max_episode_steps = 0) : ends_at_(ends_at) {
    spec_.name = "counting";
    spec_.family = "counting";
    spec_.actions = {{"left", "stay", "right"}};
    spec_.observations = {{"told", {5}, DType::kInt64},
                          {"count", {1}, DType::kInt64},
                          {"frame", {1, 1, 3}, DType::kUInt8, 0, 255}};
    spec_.frame = spec_.observations[2];
    spec_.max_episode_steps = max_episode_steps;
    spec_.temperature = 1.5;
    spec_.has_latent_statistics = true;
  }

  /// The call of this kind writes and then throws std::runtime_error.
  void FailIn(Failure call) const { failure_ = call; }

  const WorldSpec& spec() const override { return spec_; }
  at::Device device() const override { return at::kCPU; }

  WorldState MakeState(int64_t rows) const override {
    std::vector<WorldState::Field> fields;
    fields.push_back({"told", at::zeros({rows, 5}, at::kLong)});
    return WorldState(std::move(fields));
  }

  void Begin(WorldState& state, const at::Tensor& mask, const Starts& starts,
             const RowCounters& rng) const override {
    if (starts.frames) CheckFrames(*starts.frames, state.rows());
    for (int64_t row = 0; row < state.rows(); ++row) {
      if (!mask.const_data_ptr<bool>()[row]) continue;
      Tell(state, row, starts.frames ? FirstByte(*starts.frames, row) : 0, rng, -1);
    }
    Fail(Failure::kBegin);
  }

  WorldStep Step(WorldState& state, const at::Tensor& actions, const at::Tensor& temperature,
                 const RowCounters& rng, const WantedObservation& observation) const override {
    CheckActions(actions);
    WorldStep step = NewStep(state.rows());
    for (int64_t row = 0; row < state.rows(); ++row) {
      const int64_t count = state[0].const_data_ptr<int64_t>()[5 * row] + 1;
      Tell(state, row, count, rng, actions.const_data_ptr<int64_t>()[row]);
      step.reward.mutable_data_ptr<float>()[row] = 1;
      step.terminated.mutable_data_ptr<bool>()[row] = count == ends_at_;
      step.surprise.mutable_data_ptr<float>()[row] = temperature.const_data_ptr<float>()[row];
      step.termination_probability.mutable_data_ptr<float>()[row] = ProbabilityAt(count);
    }
    Fail(Failure::kStep);
    step.observation = Observe(state, observation.kind, std::nullopt);
    return step;
  }

  WorldStep Follow(WorldState& state, const at::Tensor& actions, const at::Tensor& frames,
                   const RowCounters& rng, const std::string& observation) const override {
    CheckActions(actions);
    CheckFrames(frames, state.rows());
    WorldStep step = NewStep(state.rows());
    for (int64_t row = 0; row < state.rows(); ++row) {
      const int64_t count = FirstByte(frames, row);
      Tell(state, row, count, rng, actions.const_data_ptr<int64_t>()[row]);
      step.reward.mutable_data_ptr<float>()[row] = 1;
      step.terminated.mutable_data_ptr<bool>()[row] = count == ends_at_;
      step.surprise.mutable_data_ptr<float>()[row] = 100;
      step.termination_probability.mutable_data_ptr<float>()[row] = ProbabilityAt(count);
    }
    step.observation = Observe(state, observation, std::nullopt);
    return step;
  }

  at::Tensor Observe(const WorldState& state, const std::string& kind,
                     const std::optional<at::Tensor>& rows) const override {
    Fail(Failure::kObserve);
    const at::Tensor told = rows ? state[0].index_select(0, *rows) : state[0].clone();
    if (kind == "told") return told;
    const at::Tensor count = told.slice(1, 0, 1);
    if (kind == "count") return count.clone();
    return count.to(at::kByte).view({-1, 1, 1, 1}).expand({-1, 1, 1, 3}).clone();
  }

  /// The count.
  at::Tensor LatentDistance(const WorldState& state) const override {
    return state[0].select(1, 0).to(at::kFloat);
  }

 private:
  static WorldStep NewStep(int64_t rows) {
    return {.reward = at::empty({rows}, at::kFloat),
            .terminated = at::empty({rows}, at::kBool),
            .surprise = at::empty({rows}, at::kFloat),
            .termination_probability = at::empty({rows}, at::kFloat)};
  }

  static float ProbabilityAt(int64_t count) { return static_cast<float>(count) / 8; }

  static void Tell(WorldState& state, int64_t row, int64_t count, const RowCounters& rng,
                   int64_t action) {
    const RowCounter& counter = rng[static_cast<size_t>(row)];
    int64_t* told = state[0].mutable_data_ptr<int64_t>() + 5 * row;
    told[0] = count;
    told[1] = static_cast<int64_t>(counter.seed);
    told[2] = counter.episode;
    told[3] = counter.step;
    told[4] = action;
  }

  static int64_t FirstByte(const at::Tensor& frames, int64_t row) {
    return frames.const_data_ptr<uint8_t>()[3 * row];
  }

  static void CheckFrames(const at::Tensor& frames, int64_t rows) {
    if (frames.sizes() == at::IntArrayRef({rows, 1, 1, 3})) return;
    throw std::invalid_argument("frames of another shape");
  }

  static void CheckActions(const at::Tensor& actions) {
    for (int64_t row = 0; row < actions.numel(); ++row) {
      const int64_t action = actions.const_data_ptr<int64_t>()[row];
      if (action < 0 || action > 2) throw InvalidAction("action " + std::to_string(action));
    }
  }

  void Fail(Failure call) const {
    if (failure_ == call) throw std::runtime_error("the machine failed");
  }

  int64_t ends_at_;
  WorldSpec spec_;
  mutable Failure failure_ = Failure::kNone;  // tests use one thread
};

}  // namespace genie_env
