#include "genie_env/worlds/genie/world.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"
#include "genie_env/kernels/device_info.h"
#include "genie_env/models/layers/quantizer.h"
#include "genie_env/tensor/check_tensor.h"
#include "genie_env/tensor/device.h"
#include "genie_env/tensor/draws.h"
#include "genie_env/tensor/frozen_scope.h"
#include "genie_env/tensor/gather_scatter.h"
#include "genie_env/tensor/stored_tensors.h"
#include "genie_env/worlds/check_arguments.h"
#include "genie_env/worlds/genie/config.h"
#include "genie_env/worlds/genie/frozen_genie.h"
#include "genie_env/worlds/genie/frozen_heads.h"
#include "genie_env/worlds/latent_statistics.h"
#include "genie_env/worlds/outcome_weights.h"
#include "genie_env/worlds/product_type.h"
#include "genie_env/worlds/state_fields.h"
#include "genie_env/worlds/termination.h"

namespace genie_env {
namespace {

enum FieldOfState : size_t { kTokens, kTime, kKvCache, kEncoderTime, kEncoderKvCache, kFeatures };

constexpr const char *kPasses = "passes", *kOrder = "order";

// What the heads' tensors begin with in model.safetensors.
constexpr const char *kOutcome = "heads.outcome", *kEnding = "heads.ending";

// In the order of FieldOfState.
std::vector<StateField> Fields(const GenieConfig& config, at::ScalarType dtype) {
  const TokenizerSizes& tokenizer = config.tokenizer;
  const DynamicsSizes& dynamics = config.dynamics;
  const int64_t positions = dynamics.positions;
  return {
      {"tokens", at::kLong, {positions}},
      {"time", at::kLong, {}},
      {"past", dtype, {dynamics.blocks, 2, positions, dynamics.window - 1, dynamics.block.width}},
      {"eyes_time", at::kLong, {}},
      {"eyes_past",
       dtype,
       {tokenizer.encoder_blocks, 2, positions, tokenizer.window - 1, tokenizer.block.width}},
      {"features", at::kFloat, {dynamics.features()}}};
}

std::vector<OptionSpec> OptionSpecs() {
  return {{.name = kPasses,
           .type = OptionType::kInteger,
           .low = 1,
           .high = static_cast<double>(kMaxPasses),
           .description = "MaskGIT passes per frame; the time of a step grows with them"},
          {.name = kOrder,
           .type = OptionType::kChoice,
           .choices = {Name(UnmaskOrder::kConfidence), Name(UnmaskOrder::kRandom)},
           .description = "which hidden tokens a pass unmasks: the most confident, or random ones"},
          TerminationOptionSpec()};
}

// Puts the given options in the place of what the config says; returns all, with both values.
std::vector<Option> ApplyOptions(GenieConfig& config, const OptionValues& given,
                                 const std::string& world) {
  std::vector<Option> options;
  for (OptionSpec& spec : OptionSpecs()) {
    if (spec.name == TerminationOptionSpec().name) continue;
    const OptionValue stored = spec.name == kPasses ? OptionValue(config.dynamics.passes)
                                                    : OptionValue(std::string(Name(config.order)));
    const auto found = given.find(spec.name);
    options.push_back({std::move(spec), stored, found == given.end() ? stored : found->second});
  }
  config.dynamics.passes = std::get<int64_t>(options[0].value);
  config.order = options[1].value == OptionValue(std::string(Name(UnmaskOrder::kRandom)))
                     ? UnmaskOrder::kRandom
                     : UnmaskOrder::kConfidence;
  Termination& termination = config.outcome.termination;
  const Termination stored =
      std::exchange(termination, TerminationInForce(termination, given, world));
  if (auto option = TerminationOption(stored, termination)) options.push_back(std::move(*option));
  return options;
}

WorldSpec SpecOf(const WorldDirectory& directory, const GenieConfig& config, at::ScalarType dtype,
                 std::vector<Option> options) {
  const int64_t positions = config.dynamics.positions;
  const TokenizerSizes& tokenizer = config.tokenizer;
  constexpr double kUnbounded = std::numeric_limits<double>::infinity();
  const TensorSpec frame{
      "pixels", {tokenizer.clip.height, tokenizer.clip.width, 3}, DType::kUInt8, 0, 255};
  return {.name = directory.name,
          .family = directory.family,
          .fingerprint = directory.fingerprint,
          .actions = config.actions,
          .observations =
              {{"latents", {positions * tokenizer.code_dimensions}, DType::kFloat32, -1, 1},
               {"features", {config.dynamics.features()}, DType::kFloat32, -kUnbounded, kUnbounded},
               {"tokens", {positions}, DType::kInt64, 0, static_cast<double>(tokenizer.codes - 1)},
               frame},
          .frame = frame,
          .frame_skip = config.frame_skip,
          .max_episode_steps = config.max_episode_steps,
          .state_bytes_per_row = BytesOfRow(Fields(config, dtype)),
          .dtype = dtype == at::kBFloat16 ? "bfloat16" : "float32",
          .temperature = config.temperature,
          .options = std::move(options),
          .game = directory.game,
          .frames_per_second = directory.frames_per_second,
          .exact_rows = dtype == at::kBFloat16};
}

/// What model.safetensors holds.
struct Learned {
  GenieWeights weights;
  HeadsWeights heads;
  std::optional<LatentStatistics>
      statistics;  ///< of the latents of the frames that it was learned from
};

Learned ReadLearned(const WorldDirectory& directory, const GenieConfig& config) {
  // The networks say which parameters they have; the values that they begin with are not used.
  const int64_t actions = config.actions.count();
  const at::Tensor no_codes = at::zeros({actions, config.action_dimensions}, at::kFloat);
  const std::map<std::string, TensorMap> parts{
      {"tokenizer.", ParametersOf(Tokenizer(config.tokenizer))},
      {"dynamics.", ParametersOf(Dynamics(config.dynamics, no_codes))}};
  std::map<std::string, std::vector<int64_t>> shapes{
      {"action_codes", {actions, config.action_dimensions}}};
  for (const auto& [prefix, parameters] : parts) {
    for (const auto& [name, parameter] : parameters) {
      shapes.emplace(prefix + name, parameter.sizes().vec());
    }
  }
  ExpectLatentStatistics(directory, config.dynamics.positions * config.tokenizer.code_dimensions,
                         shapes);
  const HeadsSizes sizes = config.heads();
  const bool judges = sizes.outcome().any(), ends = sizes.ending().any();
  if (judges) ExpectOutcome(kOutcome, sizes.outcome(), sizes.outcome_inputs(), shapes);
  if (ends) ExpectOutcome(kEnding, sizes.ending(), sizes.ending_inputs(), shapes);
  const auto tensors =
      ReadFloatTensors(directory.weights.bytes(), directory.weights_file(), shapes);
  HeadsWeights heads{.actions = actions};
  if (judges) heads.outcome = OutcomeOf(tensors, kOutcome, config.outcome.rewards);
  if (ends) heads.ending = OutcomeOf(tensors, kEnding, std::nullopt);
  const auto part = [&](const std::string& prefix) {
    TensorMap own;
    for (const auto& [name, parameter] : parts.at(prefix)) {
      own.emplace(name, tensors.at(prefix + name));
    }
    return own;
  };
  return {{.tokenizer_sizes = config.tokenizer,
           .dynamics_sizes = config.dynamics,
           .tokenizer = part("tokenizer."),
           .dynamics = part("dynamics."),
           .action_codes = tensors.at("action_codes"),
           .order = config.order},
          std::move(heads),
          LatentStatisticsOf(tensors)};
}

class GenieWorld final : public World {
 public:
  GenieWorld(WorldSpec spec, GenieConfig config, Learned learned, at::Tensor starts,
             at::Device device, at::ScalarType dtype)
      : spec_(std::move(spec)),
        config_(std::move(config)),
        fields_(Fields(config_, dtype)),
        device_(device),
        directions_(UnitLength(learned.weights.tokenizer.at("quantizer.codebook")).to(device)),
        genie_(device.is_cpu() ? MakeGenieCpu(learned.weights, dtype)
                               : MakeGenieTorch(learned.weights, device, dtype)),
        heads_(HeadsOf(learned.heads, device)),
        statistics_(std::move(learned.statistics)),
        starts_(std::move(starts)) {
    spec_.has_latent_statistics = statistics_.has_value();
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
    if (starts.frames) {
      genie_->BeginFrames(Parts(state), rows, GatherRows(*starts.frames, rows).to(device_));
      return;
    }
    const at::Tensor index = DrawStartIndices(counters, starts_.size(0));
    genie_->Begin(Parts(state), rows, starts_.index_select(0, index).to(device_));
  }

  WorldStep Step(WorldState& state, const at::Tensor& actions, const at::Tensor& temperature,
                 const RowCounters& rng, const WantedObservation& observation) const override {
    const FrozenScope scope;
    CheckState(state);
    CheckWanted(observation, spec_, state.rows(), device_);
    const at::Tensor checked = CheckActions(actions, state.rows(), spec_.actions, device_);
    const at::Tensor tau = CheckTemperatures(temperature, state.rows());
    CheckCounters(rng, state.rows());
    CheckBegun(state);
    const int64_t positions = config_.dynamics.positions;
    const FrameDraws draws{
        .uniform = ToDevice(Draw(rng, Stream::kMaskGitToken, positions, FillUniformRows), device_),
        .order = Order(rng),
        .temperature = ToDevice(tau, device_)};
    const at::Tensor before = FeaturesBefore(state);
    const at::Tensor surprise = genie_->Dream(Parts(state), checked, draws);
    return StepOf(state, before, checked, surprise, rng, observation);
  }

  WorldStep Follow(WorldState& state, const at::Tensor& actions, const at::Tensor& frames,
                   const RowCounters& rng, const std::string& observation) const override {
    const FrozenScope scope;
    CheckState(state);
    CheckObservation(observation, spec_);
    const at::Tensor checked = CheckActions(actions, state.rows(), spec_.actions, device_);
    CheckFrames(frames, state.rows());
    CheckCounters(rng, state.rows());
    CheckBegun(state);
    const at::Tensor before = FeaturesBefore(state);
    const at::Tensor surprise =
        genie_->Follow(Parts(state), checked, frames.to(device_).contiguous(), Order(rng));
    return StepOf(state, before, checked, surprise, rng, observation);
  }

  // Of each kv cache the slot of the frame that leaves the window.
  std::vector<OverwrittenField> OverwrittenByStep(const WorldState& state) const override {
    const FrozenScope scope;
    CheckState(state);
    std::vector<OverwrittenField> fields{
        {.field = kTokens}, {.field = kTime}, {.field = kEncoderTime}, {.field = kFeatures}};
    for (const auto& [cache, time] :
         {std::pair{kKvCache, kTime}, {kEncoderKvCache, kEncoderTime}}) {
      constexpr int64_t kSlots = 4;  // the dimension of [N, blocks, 2, S, slots, width]
      const int64_t slots = state[cache].size(kSlots);
      if (slots == 0) continue;
      fields.push_back({.field = cache,
                        .dimension = kSlots,
                        .slot = state[time].cpu().remainder(slots).contiguous()});
    }
    return fields;
  }

  at::Tensor Observe(const WorldState& state, const std::string& kind,
                     const std::optional<at::Tensor>& rows) const override {
    const FrozenScope scope;
    CheckState(state);
    CheckObservation(kind, spec_);
    return ObservationOf(state, kind, CheckOptionalRows(rows, state.rows()));
  }

  at::Tensor LatentDistance(const WorldState& state) const override {
    const FrozenScope scope;
    CheckState(state);
    if (!statistics_) ThrowNoLatentStatistics(spec_.name);
    return statistics_->Distance(Latents(Tokens(state)));
  }

 private:
  static std::unique_ptr<const FrozenHeads> HeadsOf(const HeadsWeights& weights,
                                                    at::Device device) {
    if (!weights.outcome && !weights.ending) return nullptr;
    return device.is_cpu() ? MakeHeadsCpu(weights) : MakeHeadsTorch(weights, device);
  }

  // Fresh. Pictures alone are large enough for `out` to matter.
  at::Tensor ObservationOf(const WorldState& state, const std::string& kind,
                           const std::optional<at::Tensor>& rows = std::nullopt,
                           const at::Tensor& out = {}) const {
    if (kind == "features") {
      return rows ? SelectRows(state[kFeatures], rows) : state[kFeatures].clone();
    }
    const at::Tensor tokens = SelectRows(Tokens(state), rows);
    if (kind == "latents") return Latents(tokens);
    return kind == "pixels" ? genie_->Decode(tokens, out) : tokens;
  }

  // [R, S] to [R, S * code dimensions]
  at::Tensor Latents(const at::Tensor& tokens) const {
    return directions_.index_select(0, tokens.flatten())
        .view({tokens.size(0), config_.dynamics.positions * directions_.size(1)});
  }

  static GenieState Parts(const WorldState& state) {
    return {.tokens = state[kTokens],
            .time = state[kTime],
            .kv_cache = state[kKvCache],
            .encoder_time = state[kEncoderTime],
            .encoder_kv_cache = state[kEncoderKvCache],
            .features = state[kFeatures]};
  }

  // Tokens, times and what they index are the caller's to change (see WorldState::fields). On a GPU
  // a look at them would have to wait for it.
  void CheckState(const WorldState& state) const {
    CheckStateFields(state, fields_, device_);
    if (!device_.is_cpu()) return;
    const at::Tensor& tokens = state[kTokens];
    if (((tokens < 0) | (tokens >= config_.tokenizer.codes)).any().item<bool>() ||
        (state[kTime] < 0).any().item<bool>() || (state[kEncoderTime] < 0).any().item<bool>()) {
      throw std::invalid_argument(
          "the state holds tokens outside 0 .. " + std::to_string(config_.tokenizer.codes - 1) +
          ", or negative times: it was written to; use one that MakeState of this world made");
    }
  }

  void CheckBegun(const WorldState& state) const {
    if (device_.is_cpu() && (state[kTime] == 0).any().item<bool>()) {
      throw std::invalid_argument("a row of the state has not begun: call Begin first");
    }
  }

  // Fresh, and tokens for certain, whatever was written there.
  at::Tensor Tokens(const WorldState& state) const {
    return state[kTokens].clamp(0, config_.tokenizer.codes - 1);
  }

  void CheckFrames(const at::Tensor& frames, int64_t rows) const {
    const ClipSizes& clip = config_.tokenizer.clip;
    CheckTensor(frames, "frames", at::kByte, {rows, clip.height, clip.width, 3});
  }

  // What a random order is drawn from; undefined where certainty decides.
  at::Tensor Order(const RowCounters& rng) const {
    if (config_.order != UnmaskOrder::kRandom) return {};
    return ToDevice(Draw(rng, Stream::kMaskGitOrder, config_.dynamics.positions, FillUniformRows),
                    device_);
  }

  // Of the current frame, where heads will judge with them; a step overwrites the state's.
  at::Tensor FeaturesBefore(const WorldState& state) const {
    return heads_ == nullptr ? at::Tensor() : state[kFeatures].clone();
  }

  WorldStep StepOf(const WorldState& state, const at::Tensor& before, const at::Tensor& actions,
                   const at::Tensor& surprise, const RowCounters& rng,
                   const WantedObservation& observation) const {
    HeadsOutcome judged;
    if (heads_ != nullptr) judged = heads_->Judge(before, actions, state[kFeatures]);
    const at::Tensor& logit = judged.termination_logit;
    // Not finite where features, before or after, are not.
    at::Tensor shown = surprise + 0 * state[kFeatures].sum(1);
    if (judged.reward.defined()) shown += 0 * judged.reward;
    if (logit.defined()) shown += 0 * logit;
    const Ending ending = logit.defined() ? EndingOf(config_.outcome.termination, logit, rng)
                                          : Ending{at::zeros_like(surprise, at::kBool), {}};
    return {.reward = judged.reward.defined()
                          ? judged.reward
                          : at::full_like(surprise, config_.outcome.reward_per_step),
            .terminated = ending.terminated,
            .surprise = shown,
            .observation = ObservationOf(state, observation.kind, std::nullopt, observation.out),
            .termination_probability = ending.probability};
  }

  WorldSpec spec_;
  GenieConfig config_;
  std::vector<StateField> fields_;
  at::Device device_;
  at::Tensor directions_;  // [codes, code dimensions]
  std::unique_ptr<const FrozenGenie> genie_;
  std::unique_ptr<const FrozenHeads> heads_;  // null: the world knows no rewards and no ends
  std::optional<LatentStatistics> statistics_;
  at::Tensor starts_;  // int64 [starts, S], on the CPU
};

// On a GPU the passes of MaskGIT are kernels of ours.
void CheckGpu(const std::string& name, at::Device device) {
  const std::vector<CudaDevice> gpus = CudaDevices();
  if (std::cmp_less(device.index(), gpus.size()) && gpus[device.index()].runs_kernels) return;
  throw std::invalid_argument(
      "device is \"" + name +
      "\", but worlds of the genie family need CUDA kernels there, and this build of genie_env has "
      "none for it: give \"cpu\", or build it with a CUDA toolkit, for that GPU or an older one");
}

std::shared_ptr<World> Load(const WorldDirectory& directory, const WorldOptions& options) {
  const at::Device device = ParseDevice(options.device);
  if (!device.is_cpu()) CheckGpu(options.device, device);
  const at::ScalarType dtype = ProductTypeOf(options.dtype, device);
  GenieConfig config = ParseGenieConfig(directory.config, directory.config_file().string());
  std::vector<Option> in_force = ApplyOptions(config, options.options, directory.name);
  const FrozenScope scope;
  Learned learned = ReadLearned(directory, config);
  const at::Tensor starts = ReadIndices(directory.starts.bytes(), directory.starts_file(), "tokens",
                                        {-1, config.dynamics.positions}, config.tokenizer.codes);
  return std::make_shared<GenieWorld>(SpecOf(directory, config, dtype, std::move(in_force)), config,
                                      std::move(learned), starts, device, dtype);
}

}  // namespace

WorldFamily GenieFamily() { return {.name = "genie", .options = OptionSpecs(), .load = Load}; }

}  // namespace genie_env
