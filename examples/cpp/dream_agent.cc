// A controller lives in a dream, without Python: loads a world and a linear controller, steps many
// dreams at once until every one has ended, and prints how long they lasted and how fast it went.

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logical_not.h>
#include <ATen/ops/logical_or.h>
#include <ATen/ops/nonzero.h>

#include <Eigen/Core>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "genie_env/env/vec_env.h"
#include "genie_env/io/safetensors.h"
#include "genie_env/worlds/world.h"

namespace {

constexpr std::string_view kUsage =
    R"(usage: dream_agent WORLD AGENT [--dreams 1024] [--seed 0] [--temperature T] [--device cpu]

  WORLD   a world directory, for instance worlds/doom-take-cover
  AGENT   a controller, as `genie-env train controller` writes it (.safetensors)

  --dreams       how many dreams are stepped together
  --seed         dream i has seed SEED + i
  --temperature  of the dream; the world's calibrated one where not given
  --device       cpu, cuda or cuda:1
)";

struct Arguments {
  std::string world;
  std::string agent;
  int64_t dreams = 1024;
  uint64_t seed = 0;
  std::optional<double> temperature;
  std::string device = "cpu";
};

/// A wrong command line; answered with the usage.
struct UsageError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

template <typename Number>
Number Parse(std::string_view name, std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw UsageError(std::string(name) + " needs a number, but got '" + std::string(text) + "'");
  }
  return number;
}

Arguments ParseArguments(const std::vector<std::string_view>& given) {
  Arguments arguments;
  std::vector<std::string_view> places;
  for (size_t i = 0; i < given.size(); ++i) {
    const std::string_view name = given[i];
    if (!name.starts_with("--")) {
      places.push_back(name);
      continue;
    }
    if (i + 1 == given.size()) throw UsageError(std::string(name) + " needs a value after it");
    const std::string_view value = given[++i];
    if (name == "--dreams") {
      arguments.dreams = Parse<int64_t>(name, value);
    } else if (name == "--seed") {
      arguments.seed = Parse<uint64_t>(name, value);
    } else if (name == "--temperature") {
      arguments.temperature = Parse<double>(name, value);
    } else if (name == "--device") {
      arguments.device = value;
    } else {
      throw UsageError("there is no option " + std::string(name));
    }
  }
  if (places.size() != 2) {
    throw UsageError("a world and an agent are needed, but " + std::to_string(places.size()) +
                     (places.size() == 1 ? " path was given" : " paths were given"));
  }
  arguments.world = places[0];
  arguments.agent = places[1];
  return arguments;
}

/// y = tanh(weight . observation); left below -1/3, right above 1/3, otherwise stay.
class LinearController {
 public:
  explicit LinearController(const std::string& path) {
    const genie_env::SafetensorsFile file(path);
    const auto weight = file.tensors().find("weight");
    const auto observation = file.metadata().find("observation");
    if (weight == file.tensors().end() || observation == file.metadata().end() ||
        weight->second.type != genie_env::StoredType::kFloat32 ||
        weight->second.shape.size() != 1) {
      throw std::invalid_argument(
          path +
          " is not a linear controller: expected a float32 [F] \"weight\", and its "
          "\"observation\" in the metadata, as `genie-env train controller` writes them");
    }
    weight_.resize(weight->second.shape[0]);
    std::memcpy(weight_.data(), weight->second.bytes.data(), weight->second.bytes.size());
    if (!weight_.allFinite()) {
      throw std::invalid_argument(path + ": \"weight\" holds NaN or infinity");
    }
    observation_ = observation->second;
  }

  /// What the controller sees: the name of one of the world's observations.
  const std::string& observation() const { return observation_; }

  /// observations: float32 [N, F] on the CPU. Returns int64 [N].
  at::Tensor Act(const at::Tensor& observations) const {
    using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    if (observations.dim() != 2 || observations.size(1) != weight_.size()) {
      throw std::invalid_argument(
          "the agent has " + std::to_string(weight_.size()) + " weights, but \"" + observation_ +
          "\" has another size in this world: it was trained for a world of another size");
    }
    const Eigen::Map<const Rows> rows(observations.const_data_ptr<float>(), observations.size(0),
                                      observations.size(1));
    const Eigen::VectorXf lean = (rows * weight_).array().tanh();
    at::Tensor actions = at::empty({lean.size()}, at::kLong);
    for (Eigen::Index row = 0; row < lean.size(); ++row) {
      const int right = lean[row] > 1.f / 3, left = lean[row] < -1.f / 3;
      actions.mutable_data_ptr<int64_t>()[row] = 1 + right - left;
    }
    return actions;
  }

 private:
  Eigen::VectorXf weight_;
  std::string observation_;
};

/// The length of every dream, in steps.
std::vector<int64_t> Dream(genie_env::VecEnv& env, const LinearController& controller) {
  std::vector<int64_t> lengths;
  at::Tensor observation = env.Reset();
  for (int64_t length = 1; env.num_envs() > 0; ++length) {
    const at::Tensor actions = controller.Act(observation.to(at::kCPU).contiguous());
    const genie_env::VecEnvStep step = env.Step(actions);
    const at::Tensor ended = at::logical_or(step.terminated, step.truncated);
    const at::Tensor rows = at::nonzero(at::logical_not(ended)).flatten();
    lengths.insert(lengths.end(), env.num_envs() - rows.size(0), length);
    env.Keep(rows);  // the others are not computed any more
    observation = step.observation.index_select(0, rows);
  }
  return lengths;
}

int Run(const Arguments& arguments) {
  const LinearController controller(arguments.agent);
  const auto world = genie_env::World::Load(arguments.world, {.device = arguments.device});
  genie_env::VecEnv env(world, {.num_envs = arguments.dreams,
                                .observation = controller.observation(),
                                .temperature = arguments.temperature,
                                .autoreset_mode = genie_env::AutoresetMode::kDisabled,
                                .seed = arguments.seed});
  std::printf("%s: %lld dreams at temperature %g\n", world->spec().name.c_str(),
              static_cast<long long>(arguments.dreams), *env.options().temperature);

  const auto begin = std::chrono::steady_clock::now();
  const std::vector<int64_t> lengths = Dream(env, controller);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;

  const Eigen::Map<const Eigen::ArrayX<int64_t>> tics(lengths.data(), std::ssize(lengths));
  const Eigen::ArrayXd survival = tics.cast<double>();
  const double deviation = std::sqrt((survival - survival.mean()).square().mean());
  std::printf("survival: %.1f steps (standard deviation %.1f, shortest %.0f, longest %.0f)\n",
              survival.mean(), deviation, survival.minCoeff(), survival.maxCoeff());
  std::printf("speed: %.0f steps/s (%.0f steps in %.2f s)\n", survival.sum() / seconds.count(),
              survival.sum(), seconds.count());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Run(ParseArguments({argv + 1, argv + argc}));
  } catch (const UsageError& error) {
    std::fprintf(stderr, "dream_agent: %s\n\n%s", error.what(), kUsage.data());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "dream_agent: %s\n", error.what());
    return 1;
  }
}
