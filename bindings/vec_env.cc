#include "genie_env/env/vec_env.h"

#include <pybind11/stl.h>
#include <pybind11/typing.h>
#include <torch/csrc/utils/pybind.h>

#include <memory>
#include <optional>
#include <tuple>

#include "bindings/check_signals.h"
#include "bindings/or_none.h"
#include "bindings/return_memory.h"
#include "genie_env/core/exclusive.h"
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

using PythonStepFunction =
    py::typing::Callable<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&)>;

/// A VecEnv that Python can close, and that one thread at a time may use. It owns the functions
/// that Python gave, where Python's garbage collector sees them: they often hold the environment.
class PythonVecEnv {
 public:
  /// `options` without functions.
  PythonVecEnv(std::shared_ptr<World> world, VecEnvOptions options,
               const std::optional<PythonStepFunction>& reward_fn,
               const std::optional<PythonStepFunction>& termination_fn) {
    for (const auto& [given, own, option] :
         {std::tuple{&reward_fn, &reward_fn_, &options.reward_fn},
          {&termination_fn, &termination_fn_, &options.termination_fn}}) {
      if (!*given) continue;
      *own = **given;
      *option = Calling(own);
    }
    const py::gil_scoped_release released;
    env_ = std::make_unique<VecEnv>(std::move(world), std::move(options));
    options_ = env_->options();
  }

  ~PythonVecEnv() { Free(); }
  PythonVecEnv(const PythonVecEnv&) = delete;
  PythonVecEnv& operator=(const PythonVecEnv&) = delete;

  /// Runs use(the environment) alone, without the interpreter's lock. Throws Busy, or Gymnasium's
  /// ClosedEnvironmentError.
  template <typename Use>
  auto Call(const char* name, const Use& use) {
    const py::gil_scoped_release released;
    const Exclusive::Call call = calls_.Enter(name);
    if (env_ == nullptr) ThrowClosed(name);
    return use(*env_);
  }

  /// Waits for the call of another thread and frees what the rows hold; may be called again.
  void Close() {
    if (calls_.InCall()) {
      throw std::logic_error(
          "close: called within a call of this environment, by a function that "
          "it calls; close it when that call is over");
    }
    {
      const py::gil_scoped_release released;
      const Exclusive::Call call = calls_.Wait("close");
      Free();
    }
    Forget();
  }

  /// Its functions are never called by Python.
  const VecEnvOptions& options() const { return options_; }

  int Visit(visitproc visit, void* arg) const {
    Py_VISIT(reward_fn_.ptr());
    Py_VISIT(termination_fn_.ptr());
    return 0;
  }

  void Forget() {
    // Whatever their ends run finds them gone already.
    const py::object reward_fn = std::move(reward_fn_), termination_fn = std::move(termination_fn_);
  }

 private:
  void Free() {
    if (env_ == nullptr) return;
    env_ = nullptr;
    ReturnMemory();
  }

  /// `function` is a member of this.
  static StepFunction Calling(const py::object* function) {
    return [function](const at::Tensor& observation, const at::Tensor& action,
                      const at::Tensor& next_observation) {
      const py::gil_scoped_acquire python;
      if (!*function) throw std::logic_error("the environment is being forgotten");
      return (*function)(observation, action, next_observation).cast<at::Tensor>();
    };
  }

  [[noreturn]] static void ThrowClosed(const std::string& name) {
    const py::gil_scoped_acquire python;
    const py::object error = py::module_::import("gymnasium.error").attr("ClosedEnvironmentError");
    py::set_error(error, (name + ": the environment was closed; make another one").c_str());
    throw py::error_already_set();
  }

  Exclusive calls_{"environment"};
  py::object reward_fn_, termination_fn_;
  VecEnvOptions options_;
  std::unique_ptr<VecEnv> env_;  // after the functions that it calls
};

/// A method of VecEnv as one of PythonVecEnv.
template <typename Result, typename... Arguments>
auto Alone(const char* name, Result (VecEnv::*method)(Arguments...)) {
  return [=](PythonVecEnv& env, Arguments... arguments) -> Result {
    return env.Call(name, [&](VecEnv& it) { return (it.*method)(arguments...); });
  };
}

template <typename Result, typename... Arguments>
auto Alone(const char* name, Result (VecEnv::*method)(Arguments...) const) {
  return [=](PythonVecEnv& env, Arguments... arguments) -> Result {
    return env.Call(name, [&](const VecEnv& it) { return (it.*method)(arguments...); });
  };
}

/// Lets Python's garbage collector look into it.
void SetUpCollection(PyHeapTypeObject* heap_type) {
  PyTypeObject& type = heap_type->ht_type;
  type.tp_flags |= Py_TPFLAGS_HAVE_GC;
  type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    if (!py::detail::is_holder_constructed(self)) return 0;
    return py::cast<PythonVecEnv&>(py::handle(self)).Visit(visit, arg);
  };
  type.tp_clear = [](PyObject* self) {
    if (py::detail::is_holder_constructed(self)) py::cast<PythonVecEnv&>(py::handle(self)).Forget();
    return 0;
  };
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
      .def_property_readonly(
          "starts",
          [](const VecEnvOptions& o) -> std::optional<std::shared_ptr<StartBank>> {
            if (o.starts == nullptr) return std::nullopt;
            return std::const_pointer_cast<StartBank>(o.starts);
          },
          "Where episodes begin; None: where the world has stored starts.")
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
               (o.starts ? ", starts" : "") + ", seed=" + std::to_string(*o.seed) + ")";
      });

  py::class_<VecEnvStep>(m, "VecEnvStep", "What a step brought to each of N rows.")
      .def_readonly("observation", &VecEnvStep::observation)
      .def_readonly("reward", &VecEnvStep::reward, "float32 [N]")
      .def_readonly("terminated", &VecEnvStep::terminated, "bool [N]")
      .def_readonly("truncated", &VecEnvStep::truncated, "bool [N]")
      .def_readonly("surprise", &VecEnvStep::surprise, "float32 [N], in nats")
      .def_property_readonly("latent_distance", OrNone(&VecEnvStep::latent_distance),
                             "float32 [N], a Mahalanobis distance; None unless asked for")
      .def_property_readonly("termination_probability",
                             OrNone(&VecEnvStep::termination_probability),
                             "float32 [N], what the world decided `terminated` by; None where "
                             "nothing terminates in it, and where termination_fn decides")
      .def_readonly("began", &VecEnvStep::began,
                    "bool [N], rows that began an episode: instead of going on (NextStep; reward "
                    "and scores are then 0), or after the end of another (SameStep)")
      .def_property_readonly("final_observation", OrNone(&VecEnvStep::final_observation),
                             "SameStep: of the episodes that ended where `began`; None where none "
                             "did");

  const VecEnvOptions defaults;
  py::class_<PythonVecEnv>(m, "VecEnv", py::custom_type_setup(SetUpCollection),
                           "N dreams in one frozen world, stepped together. A call while another "
                           "thread is in one raises "
                           "Busy.")
      .def(py::init([](std::shared_ptr<World> world, int64_t num_envs,
                       const std::string& observation, std::optional<double> temperature,
                       const std::string& autoreset_mode, std::optional<int64_t> max_episode_steps,
                       std::optional<double> max_surprise, bool latent_distance,
                       std::optional<double> max_latent_distance,
                       const std::optional<PythonStepFunction>& reward_fn,
                       const std::optional<PythonStepFunction>& termination_fn,
                       const std::optional<std::shared_ptr<StartBank>>& starts,
                       std::optional<uint64_t> seed) {
             return std::make_unique<PythonVecEnv>(
                 std::move(world),
                 VecEnvOptions{.num_envs = num_envs,
                               .observation = observation,
                               .temperature = temperature,
                               .autoreset_mode = ParseAutoresetMode(autoreset_mode),
                               .max_episode_steps = max_episode_steps,
                               .max_surprise = max_surprise,
                               .latent_distance = latent_distance,
                               .max_latent_distance = max_latent_distance,
                               .starts = starts.value_or(nullptr),
                               .seed = seed},
                 reward_fn, termination_fn);
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
           py::arg("starts") = py::none(), py::arg("seed") = defaults.seed)
      .def_property_readonly("options", &PythonVecEnv::options, py::return_value_policy::copy,
                             "With every default filled in.")
      .def_property_readonly("num_envs", Alone("num_envs", &VecEnv::num_envs),
                             "Rows left (see keep).")
      .def_property_readonly("temperature", Alone("temperature", &VecEnv::temperature),
                             "float32 [N], the sampling temperature of each row: a copy.")
      .def_property_readonly("rollback_bytes", Alone("rollback_bytes", &VecEnv::rollback_bytes),
                             "Bytes that the last step saved so that a failing reward_fn or "
                             "termination_fn could take it back; 0 without them.")
      .def(
          "reset",
          [](PythonVecEnv& env, std::optional<std::vector<uint64_t>> seeds,
             std::optional<at::Tensor> mask, std::optional<at::Tensor> frames,
             std::optional<at::Tensor> actions, std::optional<Snapshot> snapshot,
             std::optional<at::Tensor> temperature) {
            const ResetOptions options{.seeds = std::move(seeds),
                                       .mask = std::move(mask),
                                       .frames = std::move(frames),
                                       .actions = std::move(actions),
                                       .between_frames = CheckSignals,
                                       .snapshot = std::move(snapshot),
                                       .temperature = std::move(temperature)};
            return env.Call("reset", [&](VecEnv& it) { return it.Reset(options); });
          },
          py::kw_only(), py::arg("seeds") = py::none(), py::arg("mask") = py::none(),
          py::arg("frames") = py::none(), py::arg("actions") = py::none(),
          py::arg("snapshot") = py::none(), py::arg("temperature") = py::none(),
          "Begins episodes; returns the observation of all rows.")
      .def(
          "step",
          [](PythonVecEnv& env, const at::Tensor& actions, const std::optional<at::Tensor>& out) {
            return env.Call(
                "step", [&](VecEnv& it) { return it.Step(actions, out.value_or(at::Tensor())); });
          },
          py::arg("actions"), py::arg("out") = py::none(),
          "One dreamt frame a row. actions: int64 [N]. out: where the observation is written.")
      .def("follow", Alone("follow", &VecEnv::Follow), py::arg("actions"), py::arg("frames"),
           "One given frame a row (uint8 [N, H, W, 3]), reality's for instance.")
      .def("render", Alone("render", &VecEnv::Render), py::arg("rows") = py::none(),
           "The current frames: uint8 [R, H, W, 3].")
      .def("snapshot", Alone("snapshot", &VecEnv::TakeSnapshot), py::arg("rows") = py::none(),
           "All that the given rows are (int64 [R]; None: all).")
      .def("restore", Alone("restore", &VecEnv::Restore), py::arg("snapshot"),
           py::arg("rows") = py::none(), py::arg("seeds") = py::none(),
           "Rows go on where the snapshot was taken, or branch off with new seeds; returns the "
           "observation of all rows.")
      .def("fork", Alone("fork", &VecEnv::Fork), py::arg("row"), py::arg("into_rows"),
           py::arg("seeds") = py::none(), "The same with a snapshot of one row.")
      .def("keep", Alone("keep", &VecEnv::Keep), py::arg("rows"),
           "Goes on with only the given rows (int64 [R], without repeats), in that order.")
      .def("set_temperature", Alone("set_temperature", &VecEnv::SetTemperature),
           py::arg("temperature"),
           "float32 [N], above 0: one sampling temperature a row, from the next step on.")
      .def(
          "close", &PythonVecEnv::Close,
          "Waits for a call of another thread, then frees what the rows hold; what is called later "
          "raises ClosedEnvironmentError.");
}

}  // namespace genie_env
