#include "linear_gaussian/world.h"

#include <ATen/ops/empty.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <span>
#include <stdexcept>
#include <utility>

#include "genie_env/core/random.h"
#include "genie_env/io/json_fields.h"
#include "genie_env/tensor/check_tensor.h"
#include "genie_env/tensor/device.h"
#include "genie_env/tensor/draws.h"
#include "genie_env/tensor/frozen_scope.h"
#include "genie_env/tensor/gather_scatter.h"
#include "genie_env/tensor/stored_tensors.h"
#include "genie_env/worlds/check_arguments.h"
#include "genie_env/worlds/state_fields.h"

namespace genie_env {
namespace {

constexpr const char *kFamily = "linear-gaussian", *kNoise = "noise";
constexpr Stream kNoiseStream = FamilyStream(0);

std::vector<OptionSpec> OptionSpecs() {
  return {{.name = kNoise,
           .type = OptionType::kNumber,
           .low = 0.001,
           .high = 10,
           .description = "standard deviation of the noise"}};
}

struct Parameters {
  at::Tensor transition;  ///< float32 [D, D]
  at::Tensor pushes;      ///< float32 [actions, D]
  at::Tensor starts;      ///< float32 [starts, D]
  double noise = 0;
  double limit = 0;
};

class LinearGaussianWorld final : public World {
 public:
  LinearGaussianWorld(WorldSpec spec, Parameters parameters)
      : spec_(std::move(spec)),
        parameters_(std::move(parameters)),
        size_(parameters_.transition.size(0)),
        fields_({{"x", at::kFloat, {size_}}}) {
    spec_.state_bytes_per_row = BytesOfRow(fields_);
  }

  const WorldSpec& spec() const override { return spec_; }
  at::Device device() const override { return at::kCPU; }

  WorldState MakeState(int64_t rows) const override {
    const FrozenScope scope;
    return ZeroState(rows, fields_, device());
  }

  void Begin(WorldState& state, const at::Tensor& mask, const Starts& starts,
             const RowCounters& rng) const override {
    const FrozenScope scope;
    CheckStateFields(state, fields_, device());
    if (starts.frames) CheckHasFrames(spec_, "begin");
    const auto [rows, counters] = CheckBegin(mask, rng, state.rows());
    const at::Tensor index = DrawStartIndices(counters, parameters_.starts.size(0));
    ScatterRows(state[0], rows, GatherRows(parameters_.starts, index));
  }

  WorldStep Step(WorldState& state, const at::Tensor& actions, const at::Tensor& temperature,
                 const RowCounters& rng, const WantedObservation& observation) const override {
    const FrozenScope scope;
    CheckStateFields(state, fields_, device());
    CheckWanted(observation, spec_, state.rows(), device());
    const at::Tensor chosen = CheckActions(actions, state.rows(), spec_.actions, device());
    const at::Tensor tau = CheckTemperatures(temperature, state.rows());
    CheckCounters(rng, state.rows());
    const at::Tensor normal = Draw(rng, kNoiseStream, size_, FillNormalRows);
    const int64_t rows = state.rows();
    WorldStep step{.reward = at::empty({rows}, at::kFloat),
                   .terminated = at::empty({rows}, at::kBool),
                   .surprise = at::empty({rows}, at::kFloat)};
    for (int64_t row = 0; row < rows; ++row) {
      const double scale = parameters_.noise * std::sqrt(tau.const_data_ptr<float>()[row]);
      const double squares = Move(Row(state, row), chosen.const_data_ptr<int64_t>()[row],
                                  normal.const_data_ptr<float>() + row * size_, scale);
      const double radius = Radius(Row(state, row));
      step.reward.mutable_data_ptr<float>()[row] = static_cast<float>(-radius);
      step.terminated.mutable_data_ptr<bool>()[row] = radius > parameters_.limit;
      // Under noise at temperature 1, whatever the temperature that it was drawn at.
      const double variance = parameters_.noise * parameters_.noise;
      step.surprise.mutable_data_ptr<float>()[row] = static_cast<float>(
          0.5 * (std::log(2 * std::numbers::pi * variance) +
                 squares * scale * scale / variance / static_cast<double>(size_)));
    }
    step.observation = ObservationOf(state[0].clone(), observation.kind);
    return step;
  }

  WorldStep Follow(WorldState& /*state*/, const at::Tensor& /*actions*/,
                   const at::Tensor& /*frames*/, const RowCounters& /*rng*/,
                   const std::string& /*observation*/) const override {
    CheckHasFrames(spec_, "follow");
    throw std::logic_error("a world without pictures followed one");
  }

  at::Tensor Observe(const WorldState& state, const std::string& kind,
                     const std::optional<at::Tensor>& rows) const override {
    const FrozenScope scope;
    CheckStateFields(state, fields_, device());
    CheckObservation(kind, spec_);
    const auto chosen = CheckOptionalRows(rows, state.rows());
    return ObservationOf(chosen ? GatherRows(state[0], *chosen) : state[0].clone(), kind);
  }

 private:
  std::span<float> Row(const WorldState& state, int64_t row) const {
    return {state[0].mutable_data_ptr<float>() + row * size_, static_cast<size_t>(size_)};
  }

  // Advances x in place; returns the sum of the squares of the normal draws.
  double Move(std::span<float> x, int64_t action, const float* normal, double scale) const {
    const float* transition = parameters_.transition.const_data_ptr<float>();
    const float* push = parameters_.pushes.const_data_ptr<float>() + action * size_;
    std::vector<float> next(x.size());
    double squares = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      double sum = push[i] + scale * normal[i];
      for (size_t j = 0; j < x.size(); ++j) sum += double{transition[i * x.size() + j]} * x[j];
      next[i] = static_cast<float>(sum);
      squares += double{normal[i]} * normal[i];
    }
    std::copy(next.begin(), next.end(), x.begin());
    return squares;
  }

  static double Radius(std::span<const float> x) {
    double squares = 0;
    for (const float each : x) squares += double{each} * each;
    return std::sqrt(squares);
  }

  // x: float32 [R, D], fresh
  at::Tensor ObservationOf(const at::Tensor& x, const std::string& kind) const {
    if (kind == "x") return x;
    at::Tensor radius = at::empty({x.size(0), 1}, at::kFloat);
    for (int64_t row = 0; row < x.size(0); ++row) {
      const float* first = x.const_data_ptr<float>() + row * size_;
      radius.mutable_data_ptr<float>()[row] =
          static_cast<float>(Radius({first, static_cast<size_t>(size_)}));
    }
    return radius;
  }

  WorldSpec spec_;
  Parameters parameters_;
  int64_t size_;
  std::vector<StateField> fields_;
};

std::shared_ptr<World> Load(const WorldDirectory& directory, const WorldOptions& options) {
  const FrozenScope scope;
  if (!ParseDevice(options.device).is_cpu()) {
    throw std::invalid_argument("device is \"" + options.device +
                                "\", but linear-gaussian worlds run on the CPU alone");
  }
  const std::string file = directory.config_file().string();
  const nlohmann::json config = nlohmann::json::parse(directory.config);
  const JsonFields fields(config, file);
  const int64_t size = fields.Integer("dimension", 1, 1024);
  const std::vector<std::string> meanings = fields.Texts("actions", 256);
  const double stored = fields.PositiveNumber("noise");
  const auto found = options.options.find(kNoise);
  const OptionValue noise = found == options.options.end() ? OptionValue(stored) : found->second;
  const auto tensors =
      ReadFloatTensors(directory.weights.bytes(), directory.weights_file(),
                       {{"transition", {size, size}}, {"pushes", {std::ssize(meanings), size}}});
  const auto starts =
      ReadFloatTensors(directory.starts.bytes(), directory.starts_file(), {{"x", {-1, size}}});
  constexpr double kUnbounded = std::numeric_limits<double>::infinity();
  WorldSpec spec{.name = directory.name,
                 .family = directory.family,
                 .fingerprint = directory.fingerprint,
                 .actions = {meanings},
                 .observations = {{"x", {size}, DType::kFloat32, -kUnbounded, kUnbounded},
                                  {"radius", {1}, DType::kFloat32, 0, kUnbounded}},
                 .max_episode_steps = fields.Integer("max_episode_steps", 1, INT32_MAX),
                 .dtype = "float32",
                 .options = {{OptionSpecs()[0], stored, noise}}};
  return std::make_shared<LinearGaussianWorld>(std::move(spec),
                                               Parameters{.transition = tensors.at("transition"),
                                                          .pushes = tensors.at("pushes"),
                                                          .starts = starts.at("x"),
                                                          .noise = std::get<double>(noise),
                                                          .limit = fields.PositiveNumber("limit")});
}

}  // namespace

WorldFamily LinearGaussianFamily() {
  return {.name = kFamily, .options = OptionSpecs(), .load = Load};
}

}  // namespace genie_env
