#pragma once

#include <cstdint>

// Sizes of V and M of World Models (Ha & Schmidhuber 2018), without LibTorch: a world's
// configuration can be read, and refused, by itself.

namespace genie_env {

/// What V takes: sides that are multiples of 16 within these limits, in pixels.
inline constexpr int64_t kMinVisionSide = 48, kMaxVisionSide = 256, kVisionSideStep = 16;

struct VisionSizes {
  int64_t latents = 64;
  int64_t height = 64, width = 64;  ///< of frames
  /// Whether the decoder's features, which its first layer makes of latents, are rectified. The
  /// paper's are not.
  bool rectified_features = false;
};

/// Names of the decoder's features in a world's config.json.
inline constexpr const char *kLinearFeatures = "linear", *kRectifiedFeatures = "rectified";

/// Sides of the images that V's convolutions see and give, for a frame's side in pixels. A grid of
/// N pixels becomes a side of 16 N + 48: one of 64 begins with a single pixel, as in the paper. A
/// side of 48 has too few: it is seen with a border of 8 black pixels at either end, which are cut
/// off what is decoded.
struct VisionSide {
  explicit constexpr VisionSide(int64_t frame)
      : seen(frame < 64 ? 64 : frame),
        border((seen - frame) / 2),
        grid((seen - 48) / 16),
        encoded(seen) {
    for (int layer = 0; layer < 4; ++layer) encoded = (encoded - 4) / 2 + 1;
  }
  int64_t seen;     ///< by the first convolution, and given by the last
  int64_t border;   ///< black pixels at either end
  int64_t grid;     ///< that the decoder starts from
  int64_t encoded;  ///< of the fourth convolution's output
};

/// How M's mixture of Gaussians (Bishop 1994, "Mixture density networks") is a density of the next
/// z.
enum class MixtureKind : uint8_t {
  /// Every latent dimension has a mixture of its own, as Ha & Schmidhuber (2018, appendix A.2) have
  /// it: p(z) = prod_i sum_k w_ik N(z_i; mean_ik, std_ik).
  kIndependent,
  /// One mixture over whole vectors: p(z) = sum_k w_k prod_i N(z_i; mean_ik, std_ik). A draw takes
  /// all its numbers from one component, so dimensions can depend on each other.
  kJoint,
};

/// Their names in settings and in a world's config.json.
inline constexpr const char *kIndependentMixture = "independent", *kJointMixture = "joint";

struct MemorySizes {
  int64_t latents = 64;
  int64_t hidden = 512;
  int64_t components = 5;  ///< of every mixture
  int64_t actions = 1;     ///< numbers that M reads of an action, each in [-1, 1]
  MixtureKind mixture = MixtureKind::kIndependent;

  /// Numbers that M reads at every step: z, the action, the restart flag.
  int64_t input() const { return latents + actions + 1; }

  /// Mixtures that z is divided among: each has latents / mixtures() dimensions.
  int64_t mixtures() const { return mixture == MixtureKind::kJoint ? 1 : latents; }

  /// Numbers that M outputs after every step: log weights [mixtures][components], means
  /// [latents][components], log standard deviations [latents][components], and the termination
  /// logit.
  int64_t output() const { return (mixtures() + 2 * latents) * components + 1; }
};

}  // namespace genie_env
