#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "genie_env/core/options.h"
#include "genie_env/core/random.h"
#include "genie_env/core/spec.h"
#include "genie_env/worlds/world_state.h"

namespace genie_env {

/// What a world is, fixed when it is loaded.
struct WorldSpec {
  std::string name;         ///< for instance "doom-take-cover"
  std::string family;       ///< for instance "vision-memory"
  std::string fingerprint;  ///< SHA-256 of config, weights and starts; goes with every result
  ActionSpec actions;
  std::vector<TensorSpec> observations;  ///< what Observe can give; the first is the default
  /// The observation that is a picture, uint8 [H, W, 3]; empty: the world has no pictures.
  std::optional<TensorSpec> frame = std::nullopt;
  int64_t frame_skip = 1;         ///< frames of the source that one step stands for
  int64_t max_episode_steps = 0;  ///< steps after which an episode is truncated
  int64_t state_bytes_per_row = 0;
  std::string dtype;                   ///< of its matrix products: "float32" or "bfloat16"
  double temperature = 1;              ///< the calibrated sampling temperature
  bool has_latent_statistics = false;  ///< whether LatentDistance can be asked for
  std::vector<Option> options = {};    ///< of its family, with the values in force
  std::string game = {};  ///< that it was learned from, as its recordings say; empty: they do not
  std::optional<double> frames_per_second =
      std::nullopt;  ///< steps that a second of play takes; empty: its directory does not say
  /// Whether a row's bits depend on that row alone. Otherwise they may change with the rows beside
  /// it, by the rounding of float32; draws never do.
  bool exact_rows = true;
  bool begins_from_frames = true;  ///< whether Begin can be given frames, where it has them
  bool follows_frames = true;      ///< whether Follow can be given them as well
};

/// What one step brought to each of N rows: fresh tensors on the world's device.
struct WorldStep {
  at::Tensor reward;      ///< float32 [N]
  at::Tensor terminated;  ///< bool [N]
  /// float32 [N], nats a latent dimension or token, at temperature 1. Not finite where the row's
  /// state is not: finite weights can overflow (see CheckFinite).
  at::Tensor surprise;
  /// [N, *shape], of the kind that was asked for: WantedObservation::out, or a fresh tensor.
  at::Tensor observation = {};
  /// float32 [N], what `terminated` was decided by; undefined where nothing terminates.
  at::Tensor termination_probability = {};
};

/// The observation that a step returns.
struct WantedObservation {
  WantedObservation(std::string given_kind, at::Tensor given_out = {})
      : kind(std::move(given_kind)), out(std::move(given_out)) {}
  WantedObservation(const char* given_kind) : kind(given_kind) {}

  std::string kind;  ///< a name in spec().observations
  /// [N, *shape], contiguous, on the world's device: where the observation may be written, instead
  /// of to a fresh tensor.
  at::Tensor out = {};
};

/// Where rows begin: from the world's stored starts, or from `frames`.
struct Starts {
  std::optional<at::Tensor> frames =
      std::nullopt;  ///< uint8 [N, H, W, 3], any device; rows that do not begin are ignored
};

/// A part of a state that Step or Follow overwrites: field `field` of all rows, or, where `slot` is
/// defined, of row i the index slot[i] of dimension `dimension` alone (1 is the first after the
/// row).
struct OverwrittenField {
  size_t field = 0;
  int64_t dimension = 0;
  at::Tensor slot = {};  ///< int64 [N], on the CPU
};

struct WorldOptions {
  std::string device = "cpu";  ///< "cpu", "cuda" or "cuda:1"
  /// "float32", "bfloat16" (on a CPU with AVX-512 that oneDNN may use), or "auto": bfloat16 where
  /// it works and is faster.
  std::string dtype = "auto";
  OptionValues options = {};  ///< of the world's family; what is left out is as the world says
};

/// A frozen world model: immutable after loading and safe to share between environments and
/// threads. All that moves is in a WorldState. Tensors given may lie on any device; tensors
/// returned are fresh and lie on the world's. Wrong shapes and dtypes, rows that are not there and
/// unknown observations throw std::invalid_argument (actions: InvalidAction) before anything is
/// written. A world without pictures refuses frames and pixels in the same way.
///
///     const auto world = genie_env::World::Load(argv[1]);
///     genie_env::WorldState state = world->MakeState(2);
///     genie_env::RowCounters rng = {{.seed = 7}, {.seed = 8}};
///     world->Begin(state, at::ones({2}, at::kBool), {}, rng);
///     for (auto& row : rng) row.step = 1;  // each step has draws of its own
///     const at::Tensor actions = at::zeros({2}, at::kLong), tau = at::full({2}, 1.15);
///     const std::string kind = world->spec().observations[0].name;
///     const genie_env::WorldStep step = world->Step(state, actions, tau, rng, kind);
///     const at::Tensor again = world->Observe(state, kind);  // what step.observation holds
///
/// (With <ATen/ops/ones.h>, <ATen/ops/zeros.h> and <ATen/ops/full.h>. A VecEnv does all this.)
class World {
 public:
  /// Reads a world directory (see worlds/world_directory.h) through its family (see
  /// worlds/registry.h). Throws FormatError on a malformed one, with the file and the field first
  /// and what to do last; std::invalid_argument on options that the family does not have or that
  /// this machine cannot serve. `between_pieces` is called some ten times a second while the files
  /// are hashed, and may throw: so can a caller stop the loading of many GB.
  static std::shared_ptr<const World> Load(const std::filesystem::path& directory,
                                           const WorldOptions& options = {},
                                           const std::function<void()>& between_pieces = nullptr);
  virtual ~World() = default;

  /// The directory that Load read, as an absolute path; empty for a world that was made otherwise.
  const std::filesystem::path& directory() const { return directory_; }

  virtual const WorldSpec& spec() const = 0;
  virtual at::Device device() const = 0;

  /// A state of `rows` rows, none of which has begun: rows x spec().state_bytes_per_row bytes.
  /// Throws std::invalid_argument, with the figures, where that is more than the device has free.
  virtual WorldState MakeState(int64_t rows) const = 0;

  /// Begins an episode in the rows where `mask` (bool [N]) is true; leaves the others untouched.
  virtual void Begin(WorldState& state, const at::Tensor& mask, const Starts& starts,
                     const RowCounters& rng) const = 0;

  /// Advances every row by one frame that the world samples, in place.
  /// actions: int64 [N] or float32 [N, *shape], see ActionSpec; temperature: float32 [N], above 0.
  virtual WorldStep Step(WorldState& state, const at::Tensor& actions,
                         const at::Tensor& temperature, const RowCounters& rng,
                         const WantedObservation& observation) const = 0;

  /// Advances every row by one frame that is given (uint8 [N, H, W, 3]), in place. `surprise` is
  /// then the world's, of reality. observation: a name in spec().observations.
  virtual WorldStep Follow(WorldState& state, const at::Tensor& actions, const at::Tensor& frames,
                           const RowCounters& rng, const std::string& observation) const = 0;

  /// What the next Step or Follow overwrites, so that a caller who saves it can take the step back.
  /// By default every field.
  virtual std::vector<OverwrittenField> OverwrittenByStep(const WorldState& state) const;

  /// The observation named `kind` of the given rows (int64 [R]; without: of all), in that order:
  /// [R, *shape] as its spec says.
  virtual at::Tensor Observe(const WorldState& state, const std::string& kind,
                             const std::optional<at::Tensor>& rows = std::nullopt) const = 0;

  /// How far each row's latents are from those of the training frames: their Mahalanobis distance,
  /// float32 [N]; about sqrt(latent dimensions) where they are alike. Throws std::invalid_argument
  /// unless spec().has_latent_statistics: the world's directory holds the statistics of those
  /// frames. By default none does.
  virtual at::Tensor LatentDistance(const WorldState& state) const;

 private:
  std::filesystem::path directory_;
};

}  // namespace genie_env
