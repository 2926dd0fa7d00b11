#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "genie_env/worlds/world.h"

namespace genie_env {

/// What happens to a row after its episode has ended (Gymnasium's terms).
enum class AutoresetMode {
  kNextStep,  ///< the next Step ignores the row's action, resets it and gives reward 0
  kDisabled,  ///< stepping the row throws ResetNeeded until Reset names it
};

struct VecEnvOptions {
  int64_t num_envs = 1;
  std::string observation = "";  ///< a name in spec().observations; empty: the first
  std::optional<double> temperature = std::nullopt;  ///< empty: the world's calibrated one
  AutoresetMode autoreset_mode = AutoresetMode::kNextStep;
  std::optional<int64_t> max_episode_steps = std::nullopt;  ///< empty: the world's; 0: no limit
  /// Row i has the seed `seed + i` until a Reset gives it another; empty: from the operating
  /// system.
  std::optional<uint64_t> seed = std::nullopt;
};

struct ResetOptions {
  /// One seed a row of the environment (only rows in `mask` take theirs). A row given a seed
  /// begins at episode 0; a row given none goes on to its next episode.
  std::optional<std::vector<uint64_t>> seeds = std::nullopt;
  std::optional<at::Tensor> mask = std::nullopt;  ///< bool [N], the rows to begin; empty: all
  std::optional<at::Tensor> frames =
      std::nullopt;  ///< uint8 [N, H, W, 3] to begin from; empty: stored starts
};

/// What a step brought to each of N rows. Fresh tensors on the world's device.
struct VecEnvStep {
  at::Tensor observation;  ///< [N, *spec]
  at::Tensor reward;       ///< float32 [N]
  at::Tensor terminated;   ///< bool [N], the world says that the episode has ended
  at::Tensor truncated;    ///< bool [N], the time limit ended it
  at::Tensor surprise;     ///< float32 [N], see WorldStep; 0 where `began`
  at::Tensor began;        ///< bool [N], rows that began an episode here instead of going on
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

  /// Begins episodes; returns the observation of all rows (of a row that has never begun: zeros or
  /// anything else).
  at::Tensor Reset(const ResetOptions& options = {});

  /// One dreamt frame a row. actions: int64 [N].
  VecEnvStep Step(const at::Tensor& actions);

  /// One given frame a row (uint8 [N, H, W, 3]), reality's for instance. `terminated` is then only
  /// the world's opinion, and `truncated` is false: no row ends or resets by itself. A row that a
  /// Step has ended must begin another episode first: ResetNeeded.
  VecEnvStep Follow(const at::Tensor& actions, const at::Tensor& frames);

  /// The current frames: uint8 [R, H, W, 3]. rows: int64 [R]; empty: all.
  at::Tensor Render(const std::optional<at::Tensor>& rows = std::nullopt) const;

  /// Goes on with only the given rows (int64 [R], without repeats), in that order; no other row is
  /// computed any more. Their draws do not change. Without a row left, Reset, Step, Follow and
  /// Render throw std::logic_error.
  void Keep(const at::Tensor& rows);

  /// float32 [N], above 0: one sampling temperature a row, from the next step on.
  void SetTemperature(const at::Tensor& temperature);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace genie_env
