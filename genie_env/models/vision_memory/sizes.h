#pragma once

#include <cstdint>

// Sizes of V and M of World Models (Ha & Schmidhuber 2018), without LibTorch: a world's
// configuration can be read, and refused, by itself.

namespace genie_env {

/// The side of V's frames, in pixels.
inline constexpr int64_t kVisionFrame = 64;

struct MemorySizes {
  int64_t latents = 64;
  int64_t hidden = 512;
  int64_t components = 5;  ///< of the mixture, for each latent dimension
  int64_t actions = 1;     ///< numbers that M reads of an action, each in [-1, 1]

  /// Numbers that M reads at every step: z, the action, the restart flag.
  int64_t input() const { return latents + actions + 1; }

  /// Numbers that M outputs after every step: log weights, means and log standard deviations as
  /// [3][latents][components], then the termination logit.
  int64_t output() const { return 3 * latents * components + 1; }
};

}  // namespace genie_env
