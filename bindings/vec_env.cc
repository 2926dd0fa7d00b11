#include "genie_env/env/vec_env.h"

#include <pybind11/functional.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "bindings/check_signals.h"
#include "bindings/or_none.h"
#include "genie_env/core/text.h"

namespace genie_env {
namespace py = pybind11;
using Released = py::call_guard<py::gil_scoped_release>;

namespace {

// The values of gymnasium.vector.AutoresetMode.
const char* Name(AutoresetMode mode) {
  switch (mode) {
    case AutoresetMode::kNextStep:
      return "NextStep";
    case AutoresetMode::kSameStep:
      return "SameStep";
    case AutoresetMode::kDisabled:
      return "Disabled";
  }
  return "";
}

AutoresetMode ParseAutoresetMode(const std::string& name) {
  for (const AutoresetMode mode :
       {AutoresetMode::kNextStep, AutoresetMode::kSameStep, AutoresetMode::kDisabled}) {
    if (name == Name(mode)) return mode;
  }
  throw std::invalid_argument("autoreset_mode is \"" + name +
                              "\", expected \"NextStep\", \"SameStep\" or \"Disabled\"");
}

}  // namespace

void InitVecEnv(py::module_& m) {
  py::class_<VecEnvOptions>(m, "VecEnvOptions", "What an environment was made with.")
      .def_readonly("num_envs", &VecEnvOptions::num_envs)
      .def_readonly("observation", &VecEnvOptions::observation)
      .def_readonly("temperature", &VecEnvOptions::temperature)
      .def_property_readonly(
          "autoreset_mode", [](const VecEnvOptions& o) { return Name(o.autoreset_mode); },
          "\"NextStep\", \"SameStep\" or \"Disabled\", as gymnasium.vector.AutoresetMode has it.")
      .def_readonly("max_episode_steps", &VecEnvOptions::max_episode_steps)
      .def_readonly("max_surprise", &VecEnvOptions::max_surprise)
      .def_readonly("latent_distance", &VecEnvOptions::latent_distance)
      .def_readonly("max_latent_distance", &VecEnvOptions::max_latent_distance)
      .def_readonly("seed", &VecEnvOptions::seed)
      .def("__repr__", [](const VecEnvOptions& o) {
        return "VecEnvOptions(num_envs=" + std::to_string(o.num_envs) + ", observation='" +
               o.observation + "', temperature=" + NumberText(*o.temperature) +
               ", autoreset_mode='" + Name(o.autoreset_mode) +
               "', max_episode_steps=" + std::to_string(*o.max_episode_steps) +
               (o.max_surprise ? ", max_surprise=" + NumberText(*o.max_surprise) : "") +
               (o.latent_distance ? ", latent_distance=True" : "") +
               (o.max_latent_distance
                    ? ", max_latent_distance=" + NumberText(*o.max_latent_distance)
                    : "") +
               (o.reward_fn ? ", reward_fn" : "") + (o.termination_fn ? ", termination_fn" : "") +
               ", seed=" + std::to_string(*o.seed) + ")";
      });

  py::class_<VecEnvStep>(m, "VecEnvStep", "What a step brought to each of N rows.")
      .def_readonly("observation", &VecEnvStep::observation)
      .def_readonly("reward", &VecEnvStep::reward, "float32 [N]")
      .def_readonly("terminated", &VecEnvStep::terminated, "bool [N]")
      .def_readonly("truncated", &VecEnvStep::truncated, "bool [N]")
      .def_readonly("surprise", &VecEnvStep::surprise, "float32 [N], in nats")
      .def_property_readonly("latent_distance", OrNone(&VecEnvStep::latent_distance),
                             "float32 [N], a Mahalanobis distance; None unless asked for")
      .def_readonly("began", &VecEnvStep::began,
                    "bool [N], rows that began an episode: instead of going on (NextStep; reward "
                    "and scores are then 0), or after the end of another (SameStep)")
      .def_property_readonly("final_observation", OrNone(&VecEnvStep::final_observation),
                             "SameStep: of the episodes that ended where `began`; None where none "
                             "did");

  const VecEnvOptions defaults;
  py::class_<VecEnv>(m, "VecEnv", "N dreams in one frozen world, stepped together.")
      .def(py::init(
               [](std::shared_ptr<World> world, int64_t num_envs, const std::string& observation,
                  std::optional<double> temperature, const std::string& autoreset_mode,
                  std::optional<int64_t> max_episode_steps, std::optional<double> max_surprise,
                  bool latent_distance, std::optional<double> max_latent_distance,
                  const std::optional<StepFunction>& reward_fn,
                  const std::optional<StepFunction>& termination_fn, std::optional<uint64_t> seed) {
                 return VecEnv(std::move(world),
                               {.num_envs = num_envs,
                                .observation = observation,
                                .temperature = temperature,
                                .autoreset_mode = ParseAutoresetMode(autoreset_mode),
                                .max_episode_steps = max_episode_steps,
                                .max_surprise = max_surprise,
                                .latent_distance = latent_distance,
                                .max_latent_distance = max_latent_distance,
                                .reward_fn = reward_fn.value_or(nullptr),
                                .termination_fn = termination_fn.value_or(nullptr),
                                .seed = seed});
               }),
           py::arg("world"), py::kw_only(), py::arg("num_envs") = defaults.num_envs,
           py::arg("observation") = defaults.observation,
           py::arg("temperature") = defaults.temperature,
           py::arg("autoreset_mode") = Name(defaults.autoreset_mode),
           py::arg("max_episode_steps") = defaults.max_episode_steps,
           py::arg("max_surprise") = defaults.max_surprise,
           py::arg("latent_distance") = defaults.latent_distance,
           py::arg("max_latent_distance") = defaults.max_latent_distance,
           py::arg("reward_fn") = py::none(), py::arg("termination_fn") = py::none(),
           py::arg("seed") = defaults.seed, Released())
      .def_property_readonly("options", &VecEnv::options, "With every default filled in.")
      .def_property_readonly("num_envs", &VecEnv::num_envs, "Rows left (see keep).")
      .def_property_readonly("rollback_bytes", &VecEnv::rollback_bytes,
                             "Bytes that the last step saved so that a failing reward_fn or "
                             "termination_fn could take it back; 0 without them.")
      .def(
          "reset",
          [](VecEnv& env, std::optional<std::vector<uint64_t>> seeds,
             std::optional<at::Tensor> mask, std::optional<at::Tensor> frames,
             std::optional<at::Tensor> actions, std::optional<Snapshot> snapshot,
             std::optional<at::Tensor> temperature) {
            return env.Reset({.seeds = std::move(seeds),
                              .mask = std::move(mask),
                              .frames = std::move(frames),
                              .actions = std::move(actions),
                              .between_frames = CheckSignals,
                              .snapshot = std::move(snapshot),
                              .temperature = std::move(temperature)});
          },
          py::kw_only(), py::arg("seeds") = py::none(), py::arg("mask") = py::none(),
          py::arg("frames") = py::none(), py::arg("actions") = py::none(),
          py::arg("snapshot") = py::none(), py::arg("temperature") = py::none(), Released(),
          "Begins episodes; returns the observation of all rows.")
      .def("step", &VecEnv::Step, py::arg("actions"), Released(),
           "One dreamt frame a row. actions: int64 [N].")
      .def("follow", &VecEnv::Follow, py::arg("actions"), py::arg("frames"), Released(),
           "One given frame a row (uint8 [N, H, W, 3]), reality's for instance.")
      .def("render", &VecEnv::Render, py::arg("rows") = py::none(), Released(),
           "The current frames: uint8 [R, H, W, 3].")
      .def("snapshot", &VecEnv::TakeSnapshot, py::arg("rows") = py::none(), Released(),
           "All that the given rows are (int64 [R]; None: all).")
      .def("restore", &VecEnv::Restore, py::arg("snapshot"), py::arg("rows") = py::none(),
           py::arg("seeds") = py::none(), Released(),
           "Rows go on where the snapshot was taken, or branch off with new seeds; returns the "
           "observation of all rows.")
      .def("fork", &VecEnv::Fork, py::arg("row"), py::arg("into_rows"),
           py::arg("seeds") = py::none(), Released(), "The same with a snapshot of one row.")
      .def("keep", &VecEnv::Keep, py::arg("rows"), Released(),
           "Goes on with only the given rows (int64 [R], without repeats), in that order.")
      .def("set_temperature", &VecEnv::SetTemperature, py::arg("temperature"), Released(),
           "float32 [N], above 0: one sampling temperature a row, from the next step on.");
}

}  // namespace genie_env
