#include "genie_env/worlds/world.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>
#include <pybind11/typing.h>
#include <torch/csrc/utils/pybind.h>

#include <memory>

#include "bindings/check_signals.h"
#include "bindings/or_none.h"
#include "genie_env/core/exclusive.h"
#include "genie_env/core/text.h"
#include "genie_env/worlds/registry.h"

// A vector that Python holds as it is, not as a list.
PYBIND11_MAKE_OPAQUE(genie_env::RowCounters)

namespace genie_env {
namespace py = pybind11;
using Released = py::call_guard<py::gil_scoped_release>;

namespace {

const char* Name(DType dtype) {
  switch (dtype) {
    case DType::kUInt8:
      return "uint8";
    case DType::kInt64:
      return "int64";
    case DType::kFloat32:
      return "float32";
  }
  return "";
}

// Integers 0 .. most of any NumPy or torch integer type, one a row.
std::vector<uint64_t> Counters(const char* name, const py::object& values, uint64_t most) {
  const py::array array = py::array::ensure(values);
  if (!array || array.ndim() != 1 || (array.dtype().kind() != 'i' && array.dtype().kind() != 'u')) {
    PyErr_Clear();
    throw std::invalid_argument(std::string(name) + " is no array of integers, one for each row");
  }
  const auto refuse = [&](const std::string& value) {
    throw std::invalid_argument(std::string(name) + " holds " + value + ", expected 0 to " +
                                std::to_string(most));
  };
  if (array.dtype().kind() == 'i') {
    const py::array_t<int64_t, py::array::forcecast> numbers(array);
    for (py::ssize_t i = 0; i < numbers.size(); ++i) {
      if (numbers.at(i) < 0) refuse(std::to_string(numbers.at(i)));
    }
  }
  const py::array_t<uint64_t, py::array::forcecast> numbers(array);
  std::vector<uint64_t> counters(numbers.size());
  for (py::ssize_t i = 0; i < numbers.size(); ++i) {
    counters[i] = numbers.at(i);
    if (counters[i] > most) refuse(std::to_string(counters[i]));
  }
  return counters;
}

RowCounters MakeRowCounters(const py::object& seeds, const py::object& episodes,
                            const py::object& steps) {
  const std::vector<uint64_t> seed = Counters("seeds", seeds, UINT64_MAX);
  const std::vector<uint64_t> episode = Counters("episodes", episodes, UINT32_MAX);
  const std::vector<uint64_t> step = Counters("steps", steps, UINT32_MAX);
  if (seed.size() != episode.size() || seed.size() != step.size()) {
    throw std::invalid_argument("got " + std::to_string(seed.size()) + " seeds, " +
                                std::to_string(episode.size()) + " episodes and " +
                                std::to_string(step.size()) + " steps: give one of each a row");
  }
  RowCounters counters(seed.size());
  for (size_t i = 0; i < seed.size(); ++i) {
    counters[i] = {seed[i], static_cast<uint32_t>(episode[i]), static_cast<uint32_t>(step[i])};
  }
  return counters;
}

const char* Name(OptionType type) {
  switch (type) {
    case OptionType::kBoolean:
      return "boolean";
    case OptionType::kInteger:
      return "integer";
    case OptionType::kNumber:
      return "number";
    case OptionType::kChoice:
      return "choice";
  }
  return "";
}

// "6 actions", "actions [2]"
std::string ActionsText(const ActionSpec& spec) {
  if (spec.box) return "actions " + ShapeText(spec.box->shape);
  return std::to_string(spec.count()) + " actions";
}

// "'doom-genie' (genie), 6 actions, observations: tokens, latents, pixels, passes=3"
std::string Description(const WorldSpec& spec) {
  std::string text = "'" + spec.name + "' (" + spec.family + "), " + ActionsText(spec.actions) +
                     ", observations: ";
  for (size_t i = 0; i < spec.observations.size(); ++i) {
    text += (i == 0 ? "" : ", ") + spec.observations[i].name;
  }
  text += "; " + spec.dtype;
  for (const Option& option : spec.options) {
    text += ", " + option.spec.name + "=" + ValueText(option.value);
  }
  return text;
}

// What an option may be, as a table shows it: "1 to 64", "sampled, thresholded".
std::string RangeText(const OptionSpec& spec) {
  switch (spec.type) {
    case OptionType::kBoolean:
      return "true, false";
    case OptionType::kInteger:
    case OptionType::kNumber:
      return NumberText(spec.low) + " to " + NumberText(spec.high);
    case OptionType::kChoice:
      break;
  }
  std::string choices;
  for (const std::string& choice : spec.choices) choices += (choices.empty() ? "" : ", ") + choice;
  return choices;
}

// By hand: pybind11 would make a boolean of None, and of an integer that is too large.
OptionValue ValueOf(const std::string& name, const py::handle& value) {
  if (py::isinstance<py::bool_>(value)) return value.cast<bool>();
  if (py::isinstance<py::float_>(value)) return value.cast<double>();
  if (py::isinstance<py::str>(value)) return value.cast<std::string>();
  if (py::isinstance<py::int_>(value)) {
    try {
      return value.cast<int64_t>();
    } catch (const py::cast_error&) {
      throw std::invalid_argument("option '" + name + "' is " + std::string(py::repr(value)) +
                                  ", expected an integer that 64 bits can hold");
    }
  }
  throw py::type_error("option '" + name + "' is " + std::string(py::repr(value)) +
                       ", expected a bool, an integer, a number or a text");
}

OptionValues OptionsOf(const py::dict& options) {
  OptionValues values;
  for (const auto& [name, value] : options) {
    const auto text = py::str(name).cast<std::string>();
    values.emplace(text, ValueOf(text, value));
  }
  return values;
}

/// The properties that come from an OptionSpec, which `find` finds.
template <typename Class, typename Find>
void DefineSpec(py::class_<Class>& defined, const Find& find) {
  defined.def_property_readonly("name", [find](const Class& o) { return find(o).name; })
      .def_property_readonly(
          "type", [find](const Class& o) { return Name(find(o).type); },
          "\"boolean\", \"integer\", \"number\" or \"choice\".")
      .def_property_readonly(
          "low", [find](const Class& o) { return find(o).low; }, "Smallest integer or number.")
      .def_property_readonly(
          "high", [find](const Class& o) { return find(o).high; }, "Largest integer or number.")
      .def_property_readonly(
          "choices", [find](const Class& o) { return find(o).choices; }, "Of a choice.")
      .def_property_readonly(
          "range", [find](const Class& o) { return RangeText(find(o)); }, "All values, in words.")
      .def_property_readonly("description", [find](const Class& o) { return find(o).description; });
}

void InitOptions(py::module_& m) {
  py::class_<OptionSpec> option_spec(m, "OptionSpec", "What an option of a world family may be.");
  DefineSpec(option_spec, [](const OptionSpec& s) -> const OptionSpec& { return s; });
  option_spec.def("__repr__", [](const OptionSpec& spec) {
    return "OptionSpec(" + spec.name + ": " + Name(spec.type) + ", " + RangeText(spec) + ")";
  });

  py::class_<Option> option(m, "Option", "An option of a loaded world.");
  DefineSpec(option, [](const Option& o) -> const OptionSpec& { return o.spec; });
  option.def_readonly("default", &Option::default_value, "What the world's directory says.")
      .def_readonly("value", &Option::value, "What is in force.")
      .def("__repr__", [](const Option& o) {
        return "Option(" + o.spec.name + "=" + ValueText(o.value) + ", of " + RangeText(o.spec) +
               ")";
      });

  py::class_<WorldFamily>(m, "WorldFamily", "A kind of world that this build can load.")
      .def_readonly("name", &WorldFamily::name)
      .def_readonly("options", &WorldFamily::options, "What its worlds take, in order.")
      .def("__repr__", [](const WorldFamily& family) {
        std::string options;
        for (const OptionSpec& spec : family.options) {
          options += (options.empty() ? "" : ", ") + spec.name;
        }
        return "WorldFamily('" + family.name +
               "', options: " + (options.empty() ? "none" : options) + ")";
      });

  m.def(
      "world_families",
      [] {
        std::map<std::string, WorldFamily> families;
        for (WorldFamily& family : WorldFamilies()) families.emplace(family.name, family);
        return families;
      },
      "The registered world families, by name.");
  // An extension module of a user's own registers its families here: its copy of the library has
  // a registry of its own. See docs/families.md.
  m.attr("_register_world_family") =
      py::capsule(reinterpret_cast<void*>(&RegisterWorldFamily), kRegisterCapsule);
}

void InitSpecs(py::module_& m) {
  py::class_<TensorSpec>(m, "TensorSpec", "One row's share of a batched tensor.")
      .def_readonly("name", &TensorSpec::name)
      .def_property_readonly("shape",
                             [](const TensorSpec& s) { return py::tuple(py::cast(s.shape)); })
      .def_property_readonly(
          "dtype", [](const TensorSpec& s) { return Name(s.dtype); }, "NumPy's name of it.")
      .def_readonly("low", &TensorSpec::low)
      .def_readonly("high", &TensorSpec::high)
      .def("__repr__", [](const TensorSpec& spec) {
        return "TensorSpec('" + spec.name + "', " + Name(spec.dtype) + " " + ShapeText(spec.shape) +
               ")";
      });

  py::class_<ActionSpec>(
      m, "ActionSpec",
      "The actions of a world: numbered ones, int64 [N], or, where `shape` is not "
      "None, points of a box, float32 [N, *shape].")
      .def_readonly("meanings", &ActionSpec::meanings, "What each numbered action means, in order.")
      .def_readonly("start", &ActionSpec::start, "The number of the first.")
      .def_property_readonly("shape",
                             [](const ActionSpec& s) -> std::optional<std::vector<int64_t>> {
                               if (!s.box) return std::nullopt;
                               return s.box->shape;
                             })
      .def_property_readonly(
          "low", [](const ActionSpec& s) { return s.box ? s.box->low : std::vector<float>(); },
          "Smallest numbers of a point, in row-major order.")
      .def_property_readonly(
          "high", [](const ActionSpec& s) { return s.box ? s.box->high : std::vector<float>(); },
          "Largest numbers of a point, in row-major order.")
      .def("__repr__", [](const ActionSpec& s) { return "ActionSpec(" + ActionsText(s) + ")"; });

  py::class_<WorldSpec>(m, "WorldSpec", "What a world is, fixed when it is loaded.")
      .def_readonly("name", &WorldSpec::name)
      .def_readonly("family", &WorldSpec::family)
      .def_readonly("fingerprint", &WorldSpec::fingerprint,
                    "SHA-256 of config, weights and starts; goes with every result.")
      .def_readonly("actions", &WorldSpec::actions)
      .def_readonly("observations", &WorldSpec::observations,
                    "What `observe` can give; the first is the default.")
      .def_readonly("frame", &WorldSpec::frame,
                    "The observation that is a picture, uint8 [H, W, 3]; None without pictures.")
      .def_readonly("frame_skip", &WorldSpec::frame_skip)
      .def_readonly("game", &WorldSpec::game,
                    "That it was learned from, as its recordings say; empty where they do not.")
      .def_readonly("exact_rows", &WorldSpec::exact_rows,
                    "Whether a row's bits depend on that row alone; otherwise they may change with "
                    "the number of rows and threads, by rounding.")
      .def_readonly("begins_from_frames", &WorldSpec::begins_from_frames,
                    "Whether `begin` can be given frames, where the world has pictures.")
      .def_readonly("follows_frames", &WorldSpec::follows_frames,
                    "Whether `follow` can be given them as well.")
      .def_readonly("frames_per_second", &WorldSpec::frames_per_second,
                    "Steps that a second of play takes; None where its directory does not say.")
      .def_readonly("max_episode_steps", &WorldSpec::max_episode_steps)
      .def_readonly("state_bytes_per_row", &WorldSpec::state_bytes_per_row)
      .def_readonly("dtype", &WorldSpec::dtype,
                    "Of its matrix products: \"float32\" or \"bfloat16\".")
      .def_readonly("temperature", &WorldSpec::temperature, "The calibrated sampling temperature.")
      .def_property_readonly(
          "options",
          [](const WorldSpec& s) {
            py::typing::Dict<py::str, Option> options;  // in the family's order
            for (const Option& option : s.options) options[option.spec.name.c_str()] = option;
            return options;
          },
          "The options of its family, by name, with the values in force.")
      .def_readonly("has_latent_statistics", &WorldSpec::has_latent_statistics,
                    "Whether `latent_distance` can be asked for.")
      .def("__repr__", [](const WorldSpec& s) { return "WorldSpec(" + Description(s) + ")"; });
}

// The kind of observation that is asked for; by default the world's first.
const std::string& KindOf(const World& world, const std::optional<std::string>& kind) {
  return kind ? *kind : world.spec().observations.front().name;
}

/// A WorldState that one thread at a time may use.
struct PythonWorldState {
  /// Runs use(the state) alone.
  template <typename Use>
  auto Call(const char* name, const Use& use) {
    const Exclusive::Call call = calls.Enter(name);
    return use(state);
  }

  explicit PythonWorldState(WorldState given) : state(std::move(given)) {}

  WorldState state;
  Exclusive calls{"state"};
};

void InitState(py::module_& m) {
  py::class_<RowCounters>(m, "RowCounters",
                          "Where each row's random draws stand: arrays of integers, one a row.")
      .def(py::init(&MakeRowCounters), py::arg("seeds"), py::arg("episodes"), py::arg("steps"))
      .def("__len__", &RowCounters::size)
      .def("__repr__", [](const RowCounters& rng) {
        return "RowCounters(" + std::to_string(rng.size()) + " rows)";
      });

  py::class_<PythonWorldState>(
      m, "WorldState",
      "All that moves in a world: tensors whose first dimension is the row. A call while "
      "another thread is in one raises Busy.")
      .def_property_readonly("rows", [](const PythonWorldState& own) { return own.state.rows(); })
      .def("__repr__",
           [](const PythonWorldState& own) {
             const WorldState& state = own.state;
             std::string text = "WorldState(" + std::to_string(state.rows()) + " rows of ";
             for (size_t i = 0; i < state.fields().size(); ++i) {
               text += (i == 0 ? "" : ", ") + state.fields()[i].name;
             }
             return text + ")";
           })
      .def_property_readonly(
          "fields",
          [](const PythonWorldState& own) {
            std::map<std::string, at::Tensor> fields;
            for (const auto& field : own.state.fields()) fields.emplace(field.name, field.tensor);
            return fields;
          },
          "The tensors themselves, by name: to write to them moves the world.")
      .def(
          "clone",
          [](PythonWorldState& own) {
            return own.Call("clone", [](const WorldState& state) {
              return std::make_unique<PythonWorldState>(state.Clone());
            });
          },
          Released(), "A deep copy of all rows.")
      .def(
          "select",
          [](PythonWorldState& own, const at::Tensor& rows) {
            return own.Call("select", [&](const WorldState& state) {
              return std::make_unique<PythonWorldState>(state.Select(rows));
            });
          },
          py::arg("rows"), Released(), "A deep copy of the given rows (int64 [R]), in that order.")
      .def_static(
          "copy_rows",
          [](PythonWorldState& src, const at::Tensor& src_rows, PythonWorldState& dst,
             const at::Tensor& dst_rows) {
            src.Call("copy_rows", [&](const WorldState& from) {
              dst.Call("copy_rows",
                       [&](WorldState& to) { WorldState::CopyRows(from, src_rows, to, dst_rows); });
            });
          },
          py::arg("src"), py::arg("src_rows"), py::arg("dst"), py::arg("dst_rows"), Released(),
          "dst[dst_rows[i]] = src[src_rows[i]] (int64 [R] each).");

  py::class_<WorldStep>(m, "WorldStep", "What one step brought to each of N rows.")
      .def_readonly("reward", &WorldStep::reward, "float32 [N]")
      .def_readonly("terminated", &WorldStep::terminated, "bool [N]")
      .def_readonly("surprise", &WorldStep::surprise,
                    "float32 [N], nats a latent dimension or token, at temperature 1")
      .def_readonly("observation", &WorldStep::observation, "[N, *shape], of the kind asked for")
      .def_property_readonly("termination_probability", OrNone(&WorldStep::termination_probability),
                             "float32 [N], what `terminated` was decided by; None where nothing "
                             "terminates");
}

}  // namespace

void InitWorld(py::module_& m) {
  InitOptions(m);
  InitSpecs(m);
  InitState(m);
  py::class_<World, std::shared_ptr<World>>(
      m, "World",
      "A frozen world model: immutable, and safe to share between environments and threads.")
      .def_static(
          "load",
          [](const std::filesystem::path& path, const std::string& device, const std::string& dtype,
             const py::typing::Dict<py::str, py::object>& options) {
            const WorldOptions given{
                .device = device, .dtype = dtype, .options = OptionsOf(options)};
            const py::gil_scoped_release released;
            return std::const_pointer_cast<World>(World::Load(path, given, CheckSignals));
          },
          py::arg("path"), py::kw_only(), py::arg("device") = WorldOptions{}.device,
          py::arg("dtype") = WorldOptions{}.dtype, py::arg("options") = py::dict(),
          "Reads a world directory.\n\n"
          "device: \"cpu\", \"cuda\" or \"cuda:1\". dtype: \"float32\", \"bfloat16\", or "
          "\"auto\",\n"
          "bfloat16 where it is faster. options: values by name, of the world's family (see\n"
          "`world_families`); what is left out is as the world's directory says.")
      .def_property_readonly("spec", &World::spec, py::return_value_policy::reference_internal)
      .def_property_readonly("device", &World::device)
      .def_property_readonly("directory", &World::directory,
                             "The directory that it was loaded from, as an absolute path.")
      .def("__copy__", [](const py::object& self) { return self; })  // it never changes
      .def("__deepcopy__", [](const py::object& self, const py::dict&) { return self; })
      .def("__repr__",
           [](const World& world) {
             return "World(" + Description(world.spec()) + " on " + world.device().str() + ")";
           })
      .def(
          "make_state",
          [](const World& world, int64_t rows) {
            return std::make_unique<PythonWorldState>(world.MakeState(rows));
          },
          py::arg("rows"), Released(), "A state of `rows` rows, none of which has begun.")
      .def(
          "begin",
          [](const World& world, PythonWorldState& own, const at::Tensor& mask,
             const RowCounters& rng, const std::optional<at::Tensor>& frames) {
            own.Call("begin",
                     [&](WorldState& state) { world.Begin(state, mask, {.frames = frames}, rng); });
          },
          py::arg("state"), py::arg("mask"), py::arg("rng"), py::arg("frames") = py::none(),
          Released(),
          "Begins an episode where `mask` (bool [N]) is true: from a stored start, or from\n"
          "`frames` (uint8 [N, H, W, 3]).")
      .def(
          "step",
          [](const World& world, PythonWorldState& own, const at::Tensor& actions,
             const at::Tensor& temperature, const RowCounters& rng,
             const std::optional<std::string>& observation) {
            return own.Call("step", [&](WorldState& state) {
              return world.Step(state, actions, temperature, rng, KindOf(world, observation));
            });
          },
          py::arg("state"), py::arg("actions"), py::arg("temperature"), py::arg("rng"),
          py::arg("observation") = py::none(), Released(),
          "One sampled frame a row, in place. actions: int64 [N]; temperature: float32 [N].\n"
          "observation: the kind that the step returns; None: the world's first.")
      .def(
          "follow",
          [](const World& world, PythonWorldState& own, const at::Tensor& actions,
             const at::Tensor& frames, const RowCounters& rng,
             const std::optional<std::string>& observation) {
            return own.Call("follow", [&](WorldState& state) {
              return world.Follow(state, actions, frames, rng, KindOf(world, observation));
            });
          },
          py::arg("state"), py::arg("actions"), py::arg("frames"), py::arg("rng"),
          py::arg("observation") = py::none(), Released(),
          "One given frame a row (uint8 [N, H, W, 3]), in place; otherwise as `step`.")
      .def(
          "observe",
          [](const World& world, PythonWorldState& own, const std::string& kind,
             const std::optional<at::Tensor>& rows) {
            return own.Call("observe", [&](const WorldState& state) {
              return world.Observe(state, kind, rows);
            });
          },
          py::arg("state"), py::arg("kind"), py::arg("rows") = py::none(), Released(),
          "The observation `kind` of the given rows (int64 [R]; None: all), as the spec says: a\n"
          "fresh tensor.")
      .def(
          "latent_distance",
          [](const World& world, PythonWorldState& own) {
            return own.Call("latent_distance",
                            [&](const WorldState& state) { return world.LatentDistance(state); });
          },
          py::arg("state"), Released(),
          "How far each row's latents are from those of the training frames: float32 [N], their\n"
          "Mahalanobis distance.");
}

}  // namespace genie_env
