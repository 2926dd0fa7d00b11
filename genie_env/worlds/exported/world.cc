#include "genie_env/worlds/exported/world.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "genie_env/core/error.h"
#include "genie_env/tensor/check_tensor.h"
#include "genie_env/tensor/device.h"
#include "genie_env/tensor/draws.h"
#include "genie_env/tensor/frozen_scope.h"
#include "genie_env/tensor/gather_scatter.h"
#include "genie_env/tensor/stored_tensors.h"
#include "genie_env/worlds/check_arguments.h"
#include "genie_env/worlds/exported/config.h"
#include "genie_env/worlds/exported/finite_rows.h"
#include "genie_env/worlds/exported/graphs.h"
#include "genie_env/worlds/state_fields.h"
#include "genie_env/worlds/termination.h"

namespace genie_env {
namespace {

constexpr const char* kCompile = "compile";

OptionSpec CompileOptionSpec() {
  return {.name = kCompile,
          .type = OptionType::kBoolean,
          .description = "run code that AOTInductor compiled on this machine, for this processor"};
}

// The model's own state, then the observations.
std::vector<StateField> ExportedFields(const ExportedConfig& config) {
  std::vector<StateField> fields;
  for (const ExportedTensor& tensor : config.state) {
    fields.push_back({tensor.name, TorchType(tensor.type), tensor.shape});
  }
  for (const TensorSpec& spec : config.observations) {
    fields.push_back({"observation/" + spec.name, TorchType(spec.dtype), spec.shape});
  }
  return fields;
}

WorldSpec ExportedSpec(const WorldDirectory& directory, const ExportedConfig& config,
                       std::vector<Option> options) {
  WorldSpec spec{.name = directory.name,
                 .family = directory.family,
                 .fingerprint = directory.fingerprint,
                 .actions = config.actions,
                 .observations = config.observations,
                 .frame_skip = config.frame_skip,
                 .max_episode_steps = config.max_episode_steps,
                 .state_bytes_per_row = BytesOfRow(ExportedFields(config)),
                 .dtype = "float32",
                 .temperature = config.temperature,
                 .options = std::move(options),
                 .game = directory.game,
                 .frames_per_second = directory.frames_per_second,
                 .exact_rows = config.exact_rows,
                 .begins_from_frames = config.begins_from_frames(),
                 .follows_frames = config.follows};
  if (config.renders()) {
    spec.frame = TensorSpec{"pixels", {config.height, config.width, 3}, DType::kUInt8, 0, 255};
    spec.observations.push_back(*spec.frame);
  }
  return spec;
}

class ExportedWorld final : public World {
 public:
  ExportedWorld(WorldSpec spec, ExportedConfig config, Termination termination, at::Device device,
                ExportedGraphs graphs, std::vector<at::Tensor> starts)
      : spec_(std::move(spec)),
        config_(std::move(config)),
        termination_(termination),
        device_(device),
        fields_(ExportedFields(config_)),
        graphs_(std::move(graphs)),
        starts_(std::move(starts)) {}

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
    if (starts.frames) CheckBeginsFromFrames(*starts.frames, state.rows());
    if (counters.empty()) return;
    std::vector<at::Tensor> inputs = starts.frames
                                         ? std::vector{GatherRows(*starts.frames, rows).to(device_)}
                                         : DrawContexts(counters);
    AddNoise(inputs, graphs_.initial, counters);
    const std::vector<at::Tensor> begun = graphs_.initial.Run(inputs, rows.size(0));
    for (size_t i = 0; i < begun.size(); ++i) ScatterRows(state[i], rows, begun[i]);
  }

  WorldStep Step(WorldState& state, const at::Tensor& actions, const at::Tensor& temperature,
                 const RowCounters& rng, const WantedObservation& observation) const override {
    const FrozenScope scope;
    CheckState(state);
    CheckWanted(observation, spec_, state.rows(), device_);
    const at::Tensor checked = CheckActions(actions, state.rows(), spec_.actions, device_);
    const at::Tensor tau = CheckTemperatures(temperature, state.rows());
    CheckCounters(rng, state.rows());
    std::vector<at::Tensor> inputs = Own(state);
    inputs.push_back(checked);
    inputs.push_back(ToDevice(tau, device_));
    AddNoise(inputs, graphs_.step, rng);
    return Advance(state, graphs_.step, inputs, rng, observation);
  }

  WorldStep Follow(WorldState& state, const at::Tensor& actions, const at::Tensor& frames,
                   const RowCounters& rng, const std::string& observation) const override {
    const FrozenScope scope;
    CheckState(state);
    CheckHasFrames(spec_, "follow");
    if (!graphs_.follow) {
      throw std::invalid_argument("follow: the world \"" + spec_.name +
                                  "\" was exported without `follow`: it cannot be given frames");
    }
    CheckObservation(observation, spec_);
    const at::Tensor checked = CheckActions(actions, state.rows(), spec_.actions, device_);
    CheckFrames(frames, state.rows());
    CheckCounters(rng, state.rows());
    std::vector<at::Tensor> inputs = Own(state);
    inputs.push_back(checked);
    inputs.push_back(frames.to(device_).contiguous());
    AddNoise(inputs, *graphs_.follow, rng);
    return Advance(state, *graphs_.follow, inputs, rng, observation);
  }

  at::Tensor Observe(const WorldState& state, const std::string& kind,
                     const std::optional<at::Tensor>& rows) const override {
    const FrozenScope scope;
    CheckState(state);
    CheckObservation(kind, spec_);
    const std::optional<at::Tensor> chosen = CheckOptionalRows(rows, state.rows());
    if (const std::optional<size_t> field = FieldOf(kind)) {
      return chosen ? GatherRows(state[*field], *chosen) : state[*field].clone();
    }
    return Render(state, chosen, {});
  }

 private:
  void CheckState(const WorldState& state) const { CheckStateFields(state, fields_, device_); }

  void CheckFrames(const at::Tensor& frames, int64_t rows) const {
    CheckTensor(frames, "frames", at::kByte, {rows, config_.height, config_.width, 3});
  }

  void CheckBeginsFromFrames(const at::Tensor& frames, int64_t rows) const {
    CheckHasFrames(spec_, "begin");
    if (!config_.begins_from_frames()) {
      throw std::invalid_argument("begin: the world \"" + spec_.name +
                                  "\" does not begin from frames: its context is not one tensor "
                                  "\"frame\" of the pictures' size; leave frames out");
    }
    CheckFrames(frames, rows);
  }

  // The state's field of a declared observation; empty: it is rendered.
  std::optional<size_t> FieldOf(const std::string& kind) const {
    const auto found = std::ranges::find(config_.observations, kind, &TensorSpec::name);
    if (found == config_.observations.end()) return std::nullopt;
    return config_.state.size() + static_cast<size_t>(found - config_.observations.begin());
  }

  // The tensors that the model reads of a state.
  std::vector<at::Tensor> Own(const WorldState& state) const {
    std::vector<at::Tensor> own;
    for (size_t i = 0; i < config_.state.size(); ++i) own.push_back(state[i]);
    return own;
  }

  std::vector<at::Tensor> DrawContexts(const RowCounters& rng) const {
    std::vector<at::Tensor> contexts;
    if (starts_.empty()) return contexts;
    const at::Tensor index = DrawStartIndices(rng, starts_[0].size(0));
    for (const at::Tensor& start : starts_) {
      contexts.push_back(GatherRows(start, index).to(device_));
    }
    return contexts;
  }

  void AddNoise(std::vector<at::Tensor>& inputs, const LoadedGraph& graph,
                const RowCounters& rng) const {
    const auto rows = static_cast<int64_t>(rng.size());
    for (size_t i = 0; i < config_.noise.size(); ++i) {
      const ExportedNoise& noise = config_.noise[i];
      std::vector<int64_t> shape{rows};
      shape.insert(shape.end(), noise.shape.begin(), noise.shape.end());
      if (!graph.reads(inputs.size())) {  // nothing is drawn for it, nor held
        inputs.push_back(
            at::zeros({1}, at::TensorOptions(device_).dtype(at::kFloat)).expand(shape));
        continue;
      }
      const at::Tensor drawn = Draw(rng, FamilyStream(static_cast<uint32_t>(i)), noise.numel(),
                                    noise.normal ? FillNormalRows : FillUniformRows);
      inputs.push_back(ToDevice(drawn, device_).view(shape));
    }
  }

  // Runs the graph, and only then writes the state.
  WorldStep Advance(WorldState& state, const LoadedGraph& graph,
                    const std::vector<at::Tensor>& inputs, const RowCounters& rng,
                    const WantedObservation& wanted) const {
    std::vector<at::Tensor> outputs = graph.Run(inputs, state.rows());
    size_t next = config_.state.size();
    WorldStep step{.reward = Fresh(outputs[next++]), .terminated = {}, .surprise = {}};
    if (termination_ == Termination::kNever) {
      step.terminated = at::zeros({state.rows()}, at::TensorOptions(device_).dtype(at::kBool));
    } else {
      const Ending ending = EndingOfProbability(termination_, Fresh(outputs[next++]), rng);
      step.terminated = ending.terminated;
      step.termination_probability = ending.probability;
    }
    outputs.erase(outputs.begin() + static_cast<int64_t>(config_.state.size()),
                  outputs.begin() + static_cast<int64_t>(next));
    step.surprise = ZeroWhereFinite(outputs, step);
    Overwrite(state, outputs);
    if (const std::optional<size_t> field = FieldOf(wanted.kind)) {
      step.observation =
          wanted.out.defined() ? wanted.out.copy_(outputs[*field]) : Fresh(outputs[*field]);
    } else {
      step.observation = Render(state, std::nullopt, wanted.out);
    }
    return step;
  }

  at::Tensor ZeroWhereFinite(const std::vector<at::Tensor>& outputs, const WorldStep& step) const {
    std::vector<at::Tensor> all = outputs;
    if (step.termination_probability.defined()) all.push_back(step.termination_probability);
    return ZeroOrNan(all, step.reward.size(0), device_);
  }

  // values: one for each field.
  static void Overwrite(WorldState& state, std::vector<at::Tensor>& values) {
    const auto unchanged = [](const at::Tensor& value, const at::Tensor& field) {
      return value.is_same(field) ||
             (value.is_alias_of(field) && value.const_data_ptr() == field.const_data_ptr() &&
              value.is_contiguous());
    };
    // A value may be a view of a field, or of a part of one, that is about to be overwritten.
    for (size_t i = 0; i < values.size(); ++i) {
      if (unchanged(values[i], state[i])) continue;
      for (const auto& [name, tensor] : state.fields()) {
        if (values[i].is_alias_of(tensor)) values[i] = values[i].clone();
      }
    }
    for (size_t i = 0; i < values.size(); ++i) {
      if (!unchanged(values[i], state[i])) CopyTo(state[i], values[i]);
    }
  }

  // Small tensors as bytes, on this thread: to wake others would take longer than the copy.
  static void CopyTo(const at::Tensor& field, const at::Tensor& value) {
    constexpr size_t kSmall = size_t{1} << 20;
    if (field.is_cpu() && value.is_contiguous() && value.nbytes() <= kSmall) {
      std::memcpy(field.mutable_data_ptr(), value.const_data_ptr(), value.nbytes());
    } else {
      field.copy_(value);
    }
  }

  // The tensor, or a copy where something else could be looking at its memory.
  static at::Tensor Fresh(const at::Tensor& tensor) {
    if (!tensor.is_contiguous()) return tensor.contiguous();
    const bool alone = tensor.storage().use_count() == 1 && !tensor.is_inference();
    return alone ? tensor : tensor.clone();
  }

  at::Tensor Render(const WorldState& state, const std::optional<at::Tensor>& rows,
                    const at::Tensor& out) const {
    std::vector<at::Tensor> inputs;
    for (const at::Tensor& tensor : Own(state)) inputs.push_back(SelectRows(tensor, rows));
    const int64_t count = rows ? rows->size(0) : state.rows();
    const at::Tensor frames = graphs_.render->Run(inputs, count).at(0);
    return out.defined() ? out.copy_(frames) : Fresh(frames);
  }

  WorldSpec spec_;
  ExportedConfig config_;
  Termination termination_;
  at::Device device_;
  std::vector<StateField> fields_;
  ExportedGraphs graphs_;
  std::vector<at::Tensor> starts_;  // [starts, *shape], in the order of the context; on the CPU
};

std::vector<at::Tensor> ReadContexts(const WorldDirectory& directory,
                                     const ExportedConfig& config) {
  std::vector<ExpectedTensor> expected;
  for (const ExportedTensor& tensor : config.context) {
    std::vector<int64_t> shape{-1};
    shape.insert(shape.end(), tensor.shape.begin(), tensor.shape.end());
    expected.push_back({.name = tensor.name, .type = tensor.type, .shape = std::move(shape)});
  }
  std::vector<at::Tensor> starts =
      ReadTensors(directory.starts.bytes(), directory.starts_file(), expected);
  for (size_t i = 1; i < starts.size(); ++i) {
    if (starts[i].size(0) == starts[0].size(0)) continue;
    throw FormatError(directory.starts_file().string() + ": \"" + expected[i].name + "\" has " +
                      std::to_string(starts[i].size(0)) + " starts and \"" + expected[0].name +
                      "\" " + std::to_string(starts[0].size(0)) + ", expected as many of each");
  }
  return starts;
}

void CheckExportedDevice(const WorldOptions& options, const ExportedConfig& config,
                         at::Device device) {
  if (device.is_cpu() == (config.device == "cpu")) return;
  throw std::invalid_argument("device is \"" + options.device +
                              "\", but the world was exported for \"" + config.device +
                              "\": load it there, or export it again with device=\"" +
                              (device.is_cpu() ? "cpu" : "cuda") + "\"");
}

void CheckExportedDtype(const WorldOptions& options) {
  if (options.dtype == "auto" || options.dtype == "float32") return;
  throw std::invalid_argument("dtype is \"" + options.dtype +
                              "\", but an exported world computes in the types that its module "
                              "had: give \"auto\", or convert the module and export it again");
}

std::shared_ptr<World> LoadExported(const WorldDirectory& directory, const WorldOptions& options) {
  const FrozenScope scope;
  const at::Device device = ParseDevice(options.device);
  ExportedConfig config = ParseExportedConfig(directory.config, directory.config_file().string());
  CheckExportedDevice(options, config, device);
  CheckExportedDtype(options);
  const Termination termination =
      TerminationInForce(config.termination, options.options, directory.name);
  const auto compile = options.options.find(kCompile);
  std::vector<Option> in_force{
      {.spec = CompileOptionSpec(),
       .default_value = false,
       .value = compile == options.options.end() ? OptionValue(false) : compile->second}};
  if (auto option = TerminationOption(config.termination, termination)) {
    in_force.push_back(std::move(*option));
  }
  std::vector<at::Tensor> starts = ReadContexts(directory, config);
  const bool compiled = in_force[0].value == OptionValue(true);
  ExportedGraphs graphs = LoadGraphs(directory, config, device, compiled);
  if (compiled) config.exact_rows = false;
  WorldSpec spec = ExportedSpec(directory, config, std::move(in_force));
  return std::make_shared<ExportedWorld>(std::move(spec), std::move(config), termination, device,
                                         std::move(graphs), std::move(starts));
}

}  // namespace

WorldFamily ExportedFamily() {
  return {.name = "exported",
          .options = {CompileOptionSpec(), TerminationOptionSpec()},
          .load = LoadExported};
}

}  // namespace genie_env
