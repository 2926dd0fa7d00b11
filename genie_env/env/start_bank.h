#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "genie_env/worlds/world.h"

namespace genie_env {

/// States of one world that episodes may begin from instead of its stored starts: each stands at
/// the end of a context, a few recorded frames that it has followed. Immutable and thread-safe;
/// environments share it (VecEnvOptions::starts).
///
/// Which state an episode begins from is drawn by its row's key in a stream of its own. Its time
/// limit does not count the steps of the context.
class StartBank {
 public:
  /// Begins at the first frame of each of K contexts and follows the others: frames uint8
  /// [K, T + 1, H, W, 3], actions [K, T, *spec]. Takes K x spec().state_bytes_per_row bytes. What
  /// is drawn depends on the contexts alone. `between_frames` is called before each frame that is
  /// followed, and may throw. Throws std::invalid_argument on wrong shapes or actions, and for a
  /// world without pictures.
  static std::shared_ptr<const StartBank> Encode(
      std::shared_ptr<const World> world, const at::Tensor& frames, const at::Tensor& actions,
      const std::function<void()>& between_frames = nullptr);

  int64_t size() const { return states_.rows(); }  ///< K

  /// Identifies the contexts and the world: 64 hexadecimal digits.
  const std::string& hash() const { return hash_; }

  /// Throws std::invalid_argument unless the bank was encoded by this very world.
  void CheckWorld(const World* world) const;

  /// Sets `rows` (int64 [R]) of a state of that world to states of the bank, as `rng`, of all rows
  /// of `state`, draws them.
  void Begin(WorldState& state, const at::Tensor& rows, const RowCounters& rng) const;

 private:
  StartBank(std::shared_ptr<const World> world, WorldState states, std::string hash);

  std::shared_ptr<const World> world_;
  WorldState states_;
  std::string hash_;
};

}  // namespace genie_env
