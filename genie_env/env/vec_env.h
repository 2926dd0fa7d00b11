#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "genie_env/env/snapshot.h"
#include "genie_env/env/start_bank.h"
#include "genie_env/worlds/world.h"

namespace genie_env {

/// What happens to a row whose episode has ended (Gymnasium's terms).
enum class AutoresetMode {
  kNextStep,  ///< the next Step ignores the row's action, resets it and gives reward 0
  kSameStep,  ///< the Step that ends it resets it at once and keeps its final observation
  kDisabled,  ///< stepping the row throws ResetNeeded until Reset names it
};

/// Reward (float32 [N]) or termination (bool [N]) of a step: a function of observation [N, *spec],
/// action [N, *spec] and next observation: copies, which the two functions share. Its values for
/// rows that begin an episode are ignored; the others must be finite.
using StepFunction = std::function<at::Tensor(
    const at::Tensor& observation, const at::Tensor& action, const at::Tensor& next_observation)>;

struct VecEnvOptions {
  int64_t num_envs = 1;
  std::string observation = "";  ///< a name in spec().observations; empty: the first
  /// Default sampling temperature of all rows; empty: the world's calibrated one.
  std::optional<double> temperature = std::nullopt;
  AutoresetMode autoreset_mode = AutoresetMode::kNextStep;
  std::optional<int64_t> max_episode_steps = std::nullopt;  ///< empty: the world's; 0: no limit
  /// A step with a larger surprise (see WorldStep) truncates the episode; empty: none does.
  std::optional<double> max_surprise = std::nullopt;
  bool latent_distance = false;  ///< whether steps return World::LatentDistance
  /// A step with a larger latent distance truncates the episode; empty: none does.
  std::optional<double> max_latent_distance = std::nullopt;
  /// Overrides of the world's reward and termination. Exceptions propagate unchanged and the step
  /// is rolled back: what it overwrites is saved before it (see rollback_bytes).
  StepFunction reward_fn = nullptr;
  StepFunction termination_fn = nullptr;
  /// Where episodes begin, those of autoresets included; empty: from the world's stored starts.
  std::shared_ptr<const StartBank> starts = nullptr;
  /// Row i has the seed `seed + i` until a Reset gives it another; empty: from the operating
  /// system.
  std::optional<uint64_t> seed = std::nullopt;
};

/// Rows begin from the environment's starts, from frames, or from a snapshot. What is given for
/// each of N rows counts in the rows of `mask` alone.
struct ResetOptions {
  /// One seed a row. A row given a seed begins at episode 0; a row given none goes on to its next
  /// episode.
  std::optional<std::vector<uint64_t>> seeds = std::nullopt;
  std::optional<at::Tensor> mask = std::nullopt;  ///< bool [N], the rows to begin; empty: all
  /// uint8 [N, H, W, 3], or [N, T, H, W, 3] to follow with the T - 1 actions between them; these
  /// steps count towards the time limit.
  std::optional<at::Tensor> frames = std::nullopt;
  std::optional<at::Tensor> actions = std::nullopt;  ///< [N, T - 1, *spec], see ActionSpec
  /// Called between frames that are followed. Exceptions propagate unchanged; no row has begun.
  std::function<void()> between_frames = nullptr;
  /// Of N rows, or of one for all: a new episode begins where it was taken.
  std::optional<Snapshot> snapshot = std::nullopt;
  std::optional<at::Tensor> temperature = std::nullopt;  ///< float32 [N]; empty: as it is
};

/// What a step brought to each of N rows. Fresh tensors on the world's device, but for an
/// observation that was written to the caller's.
struct VecEnvStep {
  at::Tensor observation;           ///< [N, *spec]
  at::Tensor reward;                ///< float32 [N]
  at::Tensor terminated;            ///< bool [N], the world (or termination_fn) ended the episode
  at::Tensor truncated;             ///< bool [N], a limit ended it
  at::Tensor surprise;              ///< float32 [N], see WorldStep
  at::Tensor latent_distance = {};  ///< float32 [N], World::LatentDistance, where asked for
  /// float32 [N], what the world decided `terminated` by (see WorldStep); undefined where nothing
  /// terminates in it, and where termination_fn decides.
  at::Tensor termination_probability = {};
  /// bool [N], rows that began an episode. kNextStep: instead of going on, so that reward and
  /// scores are 0. kSameStep: after the end of another, which everything but `observation` is of.
  at::Tensor began;
  /// kSameStep: [N, *spec], of the episode that ended where `began`; undefined where none did.
  at::Tensor final_observation = {};
};

/// N dreams in one frozen world, stepped together. Move-only, thread-compatible. Wrong arguments
/// throw std::invalid_argument (or InvalidAction, ResetNeeded) and leave the environment as it was;
/// after any other failure it asks for a reset.
///
///     genie_env::VecEnv env(genie_env::World::Load(argv[1]), {.num_envs = 64, .seed = 0});
///     at::Tensor observation = env.Reset();
///     for (int i = 0; i < 100; ++i) {
///       const at::Tensor actions = at::zeros({64}, at::kLong);  // all to the left
///       const genie_env::VecEnvStep step = env.Step(actions);
///       observation = step.observation;
///     }
///
/// (With <ATen/ops/zeros.h>; argv[1] is a world directory.)
class VecEnv {
 public:
  explicit VecEnv(std::shared_ptr<const World> world, VecEnvOptions options = {});
  ~VecEnv();
  VecEnv(VecEnv&&) noexcept;
  VecEnv& operator=(VecEnv&&) noexcept;

  const World& world() const;
  const VecEnvOptions& options() const;  ///< with every default filled in
  int64_t num_envs() const;              ///< rows left (see Keep)
  at::Tensor temperature() const;        ///< float32 [N], on the CPU: a copy
  /// Bytes that the last Step or Follow saved so that a failing function could take it back; 0
  /// without reward_fn and termination_fn.
  int64_t rollback_bytes() const;

  /// Begins episodes; returns the observation of all rows (of a row that has never begun: zeros or
  /// anything else).
  at::Tensor Reset(const ResetOptions& options = {});

  /// One dreamt frame a row. actions: [N, *spec], see ActionSpec. out: where the observation is
  /// written and what the result holds ([N, *spec], contiguous, on the world's device); undefined:
  /// a fresh tensor. After a failure other than a wrong argument, `out` may be half written.
  VecEnvStep Step(const at::Tensor& actions, const at::Tensor& out = {});

  /// One given frame a row (uint8 [N, H, W, 3]), reality's for instance. `terminated` is then only
  /// an opinion, and `truncated` is false: no row ends or resets by itself. A row that a Step has
  /// ended must begin another episode first: ResetNeeded.
  VecEnvStep Follow(const at::Tensor& actions, const at::Tensor& frames);

  /// The current frames: uint8 [R, H, W, 3]. rows: int64 [R]; empty: all.
  at::Tensor Render(const std::optional<at::Tensor>& rows = std::nullopt) const;

  /// All that the given rows are (int64 [R]; empty: all): their dreams, counters and temperatures.
  Snapshot TakeSnapshot(const std::optional<at::Tensor>& rows = std::nullopt) const;

  /// The given rows (int64 [R], without repeats; empty: all) go on where the snapshot, of R rows or
  /// of one for all, was taken: the same actions bring the same steps, to the bit. The environment
  /// must have the StartBank that it was taken with, if any. Given R seeds
  /// they branch off there: the dream so far is the same, its future is drawn again, and the next
  /// episode is the seed's second. Returns the observation of all rows.
  at::Tensor Restore(const Snapshot& snapshot, const std::optional<at::Tensor>& rows = std::nullopt,
                     const std::optional<std::vector<uint64_t>>& seeds = std::nullopt);

  /// The same with a snapshot of one row of this environment.
  at::Tensor Fork(int64_t row, const at::Tensor& into_rows,
                  const std::optional<std::vector<uint64_t>>& seeds = std::nullopt);

  /// Goes on with only the given rows (int64 [R], without repeats), in that order; no other row is
  /// computed any more. Their draws do not change. Without a row left, Reset, Step, Follow, Render
  /// and snapshots throw std::logic_error.
  void Keep(const at::Tensor& rows);

  /// float32 [N], above 0: one sampling temperature a row, from the next step on.
  void SetTemperature(const at::Tensor& temperature);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace genie_env
