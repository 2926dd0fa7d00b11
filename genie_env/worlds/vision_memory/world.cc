#include "genie_env/worlds/vision_memory/world.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/io/json_check.h"
#include "genie_env/models/vision_memory/vision.h"
#include "genie_env/tensor/check_tensor.h"
#include "genie_env/tensor/device.h"
#include "genie_env/tensor/draws.h"
#include "genie_env/tensor/filled.h"
#include "genie_env/tensor/frozen_scope.h"
#include "genie_env/tensor/gather_scatter.h"
#include "genie_env/tensor/stored_tensors.h"
#include "genie_env/worlds/check_arguments.h"
#include "genie_env/worlds/latent_statistics.h"
#include "genie_env/worlds/outcome_weights.h"
#include "genie_env/worlds/product_type.h"
#include "genie_env/worlds/state_fields.h"
#include "genie_env/worlds/termination.h"
#include "genie_env/worlds/vision_memory/config.h"
#include "genie_env/worlds/vision_memory/frozen_decoder.h"
#include "genie_env/worlds/vision_memory/frozen_memory.h"

namespace genie_env {
namespace {

constexpr int64_t kEncodedAtOnce = 256;  // of the encoder
enum FieldOfState : size_t { kZ, kH, kC, kRestart };

// In the order of FieldOfState.
std::vector<StateField> Fields(int64_t latents, int64_t hidden) {
  return {{"z", at::kFloat, {latents}},
          {"h", at::kFloat, {hidden}},
          {"c", at::kFloat, {hidden}},
          {"restart", at::kFloat, {}}};
}

WorldSpec SpecOf(const WorldDirectory& directory, const VisionMemoryConfig& config,
                 at::ScalarType dtype, Termination termination) {
  std::vector<Option> options;
  if (auto option = TerminationOption(config.outcome.termination, termination)) {
    options.push_back(std::move(*option));
  }
  constexpr double kUnbounded = std::numeric_limits<double>::infinity();
  const auto features = [&](const char* name, int64_t size) {
    return TensorSpec{name, {size}, DType::kFloat32, -kUnbounded, kUnbounded};
  };
  const TensorSpec frame{"pixels", {config.height, config.width, 3}, DType::kUInt8, 0, 255};
  return {.name = directory.name,
          .family = directory.family,
          .fingerprint = directory.fingerprint,
          .actions = config.actions,
          .observations = {features("zch", config.latents + 2 * config.hidden),
                           features("zh", config.latents + config.hidden), frame},
          .frame = frame,
          .frame_skip = config.frame_skip,
          .max_episode_steps = config.max_episode_steps,
          .state_bytes_per_row = BytesOfRow(Fields(config.latents, config.hidden)),
          .dtype = dtype == at::kBFloat16 ? "bfloat16" : "float32",
          .temperature = config.temperature,
          .options = std::move(options),
          .game = directory.game,
          .frames_per_second = directory.frames_per_second,
          .exact_rows = dtype == at::kBFloat16};
}

/// What an observation of features has side by side; nothing where it is the decoded frame.
std::vector<at::Tensor MemoryState::*> FeaturesOf(const std::string& observation) {
  if (observation == "zch") return {&MemoryState::z, &MemoryState::c, &MemoryState::h};
  if (observation == "zh") return {&MemoryState::z, &MemoryState::h};
  return {};
}

/// V and M out of model.safetensors, and what V made of the frames that they were trained on.
struct Networks {
  std::shared_ptr<Vision> vision;
  MemoryWeights memory;
  std::optional<LatentStatistics> statistics;
};

/// What M reads of each numbered action, [actions, A]; undefined for points of a box.
at::Tensor ActionInputs(const VisionMemoryConfig& config) {
  if (config.actions.box) return {};
  if (config.action_inputs.empty()) return at::eye(config.actions.count(), at::kFloat);
  return at::tensor(config.action_inputs, at::kFloat).unsqueeze(1);
}

int64_t ActionWidth(const VisionMemoryConfig& config) {
  if (config.actions.box) return config.actions.box->numel();
  return config.action_inputs.empty() ? config.actions.count() : 1;
}

constexpr const char *kOutcome = "memory.outcome", *kRewardWeight = "memory.reward.weight",
                     *kRewardBias = "memory.reward.bias";

MemorySizes MemorySizesOf(const VisionMemoryConfig& config) {
  return {.latents = config.latents,
          .hidden = config.hidden,
          .components = config.components,
          .actions = ActionWidth(config),
          .mixture = config.mixture};
}

/// The parameters of M by their names in the file, and their shapes.
std::map<std::string, std::vector<int64_t>> MemoryShapes(const VisionMemoryConfig& config) {
  const MemorySizes sizes = MemorySizesOf(config);
  const int64_t gates = 4 * sizes.hidden;
  std::map<std::string, std::vector<int64_t>> shapes{
      {"memory.weight_ih", {gates, sizes.input()}},
      {"memory.weight_hh", {gates, sizes.hidden}},
      {"memory.bias", {gates}},
      {"memory.output.weight", {sizes.output(), sizes.hidden}},
      {"memory.output.bias", {sizes.output()}}};
  if (config.outcome.judged().any()) {
    ExpectOutcome(kOutcome, config.outcome.judged(), sizes.hidden + sizes.latents, shapes);
  }
  if (config.outcome.linear_reward) {
    shapes.emplace(kRewardWeight, std::vector<int64_t>{1, sizes.hidden});
    shapes.emplace(kRewardBias, std::vector<int64_t>{1});
  }
  return shapes;
}

MemoryWeights MemoryOf(const VisionMemoryConfig& config, const TensorMap& tensors) {
  const auto take = [&](const char* name) { return tensors.at(std::string("memory.") + name); };
  MemoryWeights memory{.latents = config.latents,
                       .mixture = config.mixture,
                       .weight_ih = take("weight_ih"),
                       .weight_hh = take("weight_hh"),
                       .bias = take("bias"),
                       .output_weight = take("output.weight"),
                       .output_bias = take("output.bias"),
                       .action_inputs = ActionInputs(config)};
  if (config.outcome.judged().any()) {
    memory.outcome = OutcomeOf(tensors, kOutcome, config.outcome.rewards);
  }
  if (config.outcome.linear_reward) {
    memory.reward_weight = tensors.at(kRewardWeight);
    memory.reward_bias = tensors.at(kRewardBias);
  }
  return memory;
}

Networks ReadNetworks(const WorldDirectory& directory, const VisionMemoryConfig& config) {
  auto vision =
      std::make_shared<Vision>(VisionSizes{.latents = config.latents,
                                           .height = config.height,
                                           .width = config.width,
                                           .rectified_features = config.rectified_features});
  std::map<std::string, std::vector<int64_t>> shapes = MemoryShapes(config);
  for (const auto& [name, parameter] : ParametersOf(*vision)) {
    shapes.emplace("vision." + name, parameter.sizes().vec());
  }
  ExpectLatentStatistics(directory, config.latents, shapes);
  const auto tensors =
      ReadFloatTensors(directory.weights.bytes(), directory.weights_file(), shapes);
  TensorMap seen;
  for (const auto& [name, parameter] : ParametersOf(*vision)) {
    seen.emplace(name, tensors.at("vision." + name));
    at::Tensor(parameter).requires_grad_(false);
  }
  LoadParameters(*vision, seen);
  return {std::move(vision), MemoryOf(config, tensors), LatentStatisticsOf(tensors)};
}

/// The stored first frames, as V encodes them; float32 [S, latents] on the CPU.
struct StoredStarts {
  at::Tensor mu, std;
};

StoredStarts ReadStarts(const WorldDirectory& directory, int64_t latents) {
  const auto tensors = ReadFloatTensors(directory.starts.bytes(), directory.starts_file(),
                                        {{"mu", {-1, latents}}, {"logvar", {-1, latents}}});
  const at::Tensor &mu = tensors.at("mu"), &logvar = tensors.at("logvar");
  if (mu.size(0) != logvar.size(0)) {
    throw FormatError(directory.starts_file().string() + ": \"mu\" has " +
                      std::to_string(mu.size(0)) + " starts and \"logvar\" " +
                      std::to_string(logvar.size(0)) + ", expected as many of each");
  }
  const at::Tensor std = (0.5 * logvar).exp();
  if (!std.isfinite().all().item<bool>()) {
    throw FormatError(directory.starts_file().string() +
                      ": \"logvar\" holds a value whose exponential is not finite");
  }
  return {mu, std};
}

template <typename Function>
at::Tensor InChunks(const at::Tensor& rows, const Function& function) {
  if (rows.size(0) <= kEncodedAtOnce) return function(rows);
  std::vector<at::Tensor> chunks;
  for (const at::Tensor& chunk : rows.split(kEncodedAtOnce)) chunks.push_back(function(chunk));
  return at::cat(chunks);
}

class VisionMemoryWorld final : public World {
 public:
  VisionMemoryWorld(WorldSpec spec, const VisionMemoryConfig& config, Networks networks,
                    Termination termination, std::unique_ptr<const FrozenDecoder> decoder,
                    StoredStarts starts, at::Device device, at::ScalarType dtype)
      : spec_(std::move(spec)),
        fields_(Fields(config.latents, config.hidden)),
        latents_(config.latents),
        mixtures_(MemorySizesOf(config).mixtures()),
        reward_per_step_(config.outcome.reward_per_step),
        termination_(termination),
        device_(device),
        vision_(std::move(networks.vision)),
        decoder_(std::move(decoder)),
        memory_(device.is_cpu() ? MakeMemoryCpu(networks.memory, dtype)
                                : MakeMemoryTorch(networks.memory, device, dtype)),
        statistics_(std::move(networks.statistics)),
        starts_(std::move(starts)) {
    spec_.has_latent_statistics = statistics_.has_value();
    if (!spec_.actions.box) return;
    const ActionBox& box = *spec_.actions.box;
    box_low_ = at::tensor(box.low, at::kFloat).to(device_);
    std::vector<float> slope(box.low.size());
    for (size_t i = 0; i < slope.size(); ++i) slope[i] = 2 / (box.high[i] - box.low[i]);
    box_slope_ = at::tensor(slope, at::kFloat).to(device_);
  }

  const WorldSpec& spec() const override { return spec_; }
  at::Device device() const override { return device_; }

  WorldState MakeState(int64_t rows) const override {
    const FrozenScope scope;
    return ZeroState(rows, fields_, device_);
  }

  void Begin(WorldState& state, const at::Tensor& mask, const Starts& starts,
             const RowCounters& rng) const override {
    const FrozenScope scope;
    CheckState(state);
    const auto [rows, counters] = CheckBegin(mask, rng, state.rows());
    if (starts.frames) CheckFrames(*starts.frames, state.rows());
    if (counters.empty()) return;
    const at::Tensor z =
        starts.frames ? Encode(GatherRows(*starts.frames, rows), counters) : DrawStarts(counters);
    if (starts.frames && !z.isfinite().all().item<bool>()) {
      throw std::invalid_argument(
          "frames: V encodes them to latents that are not finite: the "
          "weights of the world \"" +
          spec_.name + "\" overflow in " + spec_.dtype +
          "; load it with dtype \"float32\", or train and "
          "freeze it again");
    }
    memory_->Begin(Parts(state), rows, z);
  }

  WorldStep Step(WorldState& state, const at::Tensor& actions, const at::Tensor& temperature,
                 const RowCounters& rng, const WantedObservation& observation) const override {
    const FrozenScope scope;
    CheckState(state);
    CheckWanted(observation, spec_, state.rows(), device_);
    const at::Tensor checked = ActionsOf(actions, state.rows());
    const at::Tensor tau = CheckTemperatures(temperature, state.rows());
    CheckCounters(rng, state.rows());
    const MixtureDraws draws = DrawsOf(rng, tau);
    const MemoryState parts = Parts(state);
    // The kernel writes features while it has them at hand: a copy afterwards takes 5 % of a step.
    const auto [features, written] =
        AllocateFeatures(FeaturesOf(observation.kind), parts, observation.out);
    WorldStep step = Finish(state, memory_->Dream(parts, checked, draws, written), rng);
    step.observation = features.defined() ? features : Decode(parts.z, observation.out);
    return step;
  }

  WorldStep Follow(WorldState& state, const at::Tensor& actions, const at::Tensor& frames,
                   const RowCounters& rng, const std::string& observation) const override {
    const FrozenScope scope;
    CheckState(state);
    CheckObservation(observation, spec_);
    const at::Tensor checked = ActionsOf(actions, state.rows());
    CheckFrames(frames, state.rows());
    CheckCounters(rng, state.rows());
    const at::Tensor next = Encode(frames, rng);
    WorldStep step = Finish(state, memory_->Follow(Parts(state), checked, next), rng);
    step.observation = ObservationOf(Parts(state), observation, std::nullopt);
    return step;
  }

  at::Tensor Observe(const WorldState& state, const std::string& kind,
                     const std::optional<at::Tensor>& rows) const override {
    const FrozenScope scope;
    CheckState(state);
    CheckObservation(kind, spec_);
    return ObservationOf(Parts(state), kind, CheckOptionalRows(rows, state.rows()));
  }

  at::Tensor LatentDistance(const WorldState& state) const override {
    const FrozenScope scope;
    CheckState(state);
    if (!statistics_) ThrowNoLatentStatistics(spec_.name);
    return statistics_->Distance(state[kZ]);
  }

 private:
  static MemoryState Parts(const WorldState& state) {
    return {.z = state[kZ], .h = state[kH], .c = state[kC], .restart = state[kRestart]};
  }

  at::Tensor ObservationOf(const MemoryState& state, const std::string& kind,
                           const std::optional<at::Tensor>& rows) const {
    std::vector<at::Tensor> features;
    for (const auto part : FeaturesOf(kind)) features.push_back(SelectRows(state.*part, rows));
    return features.empty() ? Decode(SelectRows(state.z, rows)) : at::cat(features, 1);
  }

  MixtureDraws DrawsOf(const RowCounters& rng, const at::Tensor& temperature) const {
    if (!device_.is_cpu()) {
      return {.uniform = Draw(rng, Stream::kMixture, mixtures_, FillUniformRows).to(device_),
              .normal = Draw(rng, Stream::kGaussian, latents_, FillNormalRows).to(device_),
              .temperature = temperature.to(device_)};
    }
    const auto rows = static_cast<int64_t>(rng.size());
    MixtureDraws draws{.uniform = at::empty({rows, mixtures_}, at::kFloat),
                       .normal = at::empty({rows, latents_}, at::kFloat),
                       .temperature = temperature};
    draws.draw = [&rng, uniform = draws.uniform, normal = draws.normal](int64_t begin,
                                                                        int64_t end) {
      DrawRows(rng, Stream::kMixture, FillUniformRows, begin, end, uniform);
      DrawRows(rng, Stream::kGaussian, FillNormalRows, begin, end, normal);
    };
    return draws;
  }

  // An observation of these features to be written (`out`, where it is defined), and its parts;
  // without any both are undefined.
  static std::pair<at::Tensor, MemoryState> AllocateFeatures(
      const std::vector<at::Tensor MemoryState::*>& features, const MemoryState& state,
      const at::Tensor& out) {
    if (features.empty()) return {};
    const int64_t rows = state.z.size(0);
    int64_t width = 0;
    for (const auto part : features) width += (state.*part).size(1);
    const at::Tensor observation =
        out.defined() ? out : at::empty({rows, width}, state.z.options());
    MemoryState parts;
    int64_t first = 0;
    for (const auto part : features) {  // narrow() would call three operators
      const int64_t size = (state.*part).size(1);
      parts.*part = observation.as_strided({rows, size}, {width, 1}, first);
      first += size;
    }
    return {observation, parts};
  }

  void CheckState(const WorldState& state) const { CheckStateFields(state, fields_, device_); }

  void CheckFrames(const at::Tensor& frames, int64_t rows) const {
    const VisionSizes& sizes = vision_->sizes();
    CheckTensor(frames, "frames", at::kByte, {rows, sizes.height, sizes.width, 3});
  }

  // In plain loops, because few rows begin in a step: to call LibTorch's operators would take most
  // of the time that an environment takes beside its world.
  at::Tensor DrawStarts(const RowCounters& rng) const {
    const at::Tensor index = DrawStartIndices(rng, starts_.mu.size(0));
    const at::Tensor z = Draw(rng, Stream::kVision, latents_, FillNormalRows);
    float* row = z.mutable_data_ptr<float>();
    for (size_t i = 0; i < rng.size(); ++i, row += latents_) {
      const int64_t start = index.const_data_ptr<int64_t>()[i] * latents_;
      const float* mu = starts_.mu.const_data_ptr<float>() + start;
      const float* std = starts_.std.const_data_ptr<float>() + start;
      for (int64_t j = 0; j < latents_; ++j) row[j] = mu[j] + std[j] * row[j];
    }
    return z.to(device_);
  }

  at::Tensor Encode(const at::Tensor& frames, const RowCounters& rng) const {
    const at::Tensor noise = Draw(rng, Stream::kVision, latents_, FillNormalRows).to(device_);
    const at::Tensor gaussian = InChunks(frames, [&](const at::Tensor& chunk) {
      const LatentGaussian encoded = vision_->Encode(chunk);
      return at::cat({encoded.mu, encoded.logvar}, 1);
    });
    const at::Tensor std = (0.5 * gaussian.narrow(1, latents_, latents_)).exp();
    return gaussian.narrow(1, 0, latents_) + std * noise;
  }

  at::Tensor Decode(const at::Tensor& z, const at::Tensor& out = {}) const {
    const VisionSizes& sizes = vision_->sizes();
    at::Tensor frames = out.defined() ? out
                                      : at::empty({z.size(0), sizes.height, sizes.width, 3},
                                                  at::TensorOptions(device_).dtype(at::kByte));
    decoder_->Decode(z, frames);
    return frames;
  }

  WorldStep Finish(const WorldState& state, const MemoryOutcome& outcome,
                   const RowCounters& rng) const {
    state[kRestart].zero_();
    const at::Tensor& logit = outcome.termination_logit;
    const Ending ending = EndingOf(termination_, logit, rng);
    return {.reward = outcome.reward.defined() ? outcome.reward
                                               : Filled(state.rows(), reward_per_step_, device_),
            .terminated = ending.terminated,
            .surprise = outcome.surprise,
            .termination_probability = ending.probability};
  }

  /// Actions as M takes them (FrozenMemory).
  at::Tensor ActionsOf(const at::Tensor& actions, int64_t rows) const {
    const at::Tensor checked = CheckActions(actions, rows, spec_.actions, device_);
    return spec_.actions.box ? (checked.flatten(1) - box_low_) * box_slope_ - 1 : checked;
  }

  WorldSpec spec_;
  std::vector<StateField> fields_;
  int64_t latents_, mixtures_;
  float reward_per_step_;
  Termination termination_;
  at::Device device_;
  std::shared_ptr<const Vision> vision_;
  std::unique_ptr<const FrozenDecoder> decoder_;
  std::unique_ptr<const FrozenMemory> memory_;
  std::optional<LatentStatistics> statistics_;
  StoredStarts starts_;
  at::Tensor box_low_, box_slope_;  ///< scale points of a box to -1 .. 1; else undefined
};

std::shared_ptr<World> Load(const WorldDirectory& directory, const WorldOptions& options) {
  const FrozenScope scope;
  const at::Device device = ParseDevice(options.device);
  const at::ScalarType dtype = ProductTypeOf(options.dtype, device);
  const VisionMemoryConfig config =
      ParseVisionMemoryConfig(directory.config, directory.config_file().string());
  Networks networks = ReadNetworks(directory, config);
  std::unique_ptr<const FrozenDecoder> decoder;
  if (device.is_cpu()) decoder = MakeDecoderCpu(*networks.vision, dtype);
  networks.vision->to(device, dtype);
  if (decoder == nullptr) decoder = MakeDecoderTorch(networks.vision, dtype);
  const Termination termination =
      TerminationInForce(config.outcome.termination, options.options, directory.name);
  return std::make_shared<VisionMemoryWorld>(SpecOf(directory, config, dtype, termination), config,
                                             std::move(networks), termination, std::move(decoder),
                                             ReadStarts(directory, config.latents), device, dtype);
}

}  // namespace

WorldFamily VisionMemoryFamily() {
  return {.name = "vision-memory", .options = {TerminationOptionSpec()}, .load = Load};
}

}  // namespace genie_env
