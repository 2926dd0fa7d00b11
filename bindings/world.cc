#include "genie_env/worlds/world.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>
#include <torch/csrc/utils/pybind.h>

#include "bindings/or_none.h"

// A vector that Python holds as it is, not as a list.
PYBIND11_MAKE_OPAQUE(genie_env::RowCounters)

namespace genie_env {
namespace py = pybind11;
using Released = py::call_guard<py::gil_scoped_release>;

namespace {

Termination ParseTermination(const std::optional<std::string>& termination) {
  if (!termination) return Termination::kAsCalibrated;
  if (*termination == "sampled") return Termination::kSampled;
  if (*termination == "thresholded") return Termination::kThresholded;
  throw std::invalid_argument("termination is \"" + *termination +
                              "\", expected \"sampled\", \"thresholded\" or None");
}

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

void InitSpecs(py::module_& m) {
  py::class_<TensorSpec>(m, "TensorSpec", "One row's share of a batched tensor.")
      .def_readonly("name", &TensorSpec::name)
      .def_property_readonly("shape",
                             [](const TensorSpec& s) { return py::tuple(py::cast(s.shape)); })
      .def_property_readonly(
          "dtype", [](const TensorSpec& s) { return Name(s.dtype); }, "NumPy's name of it.")
      .def_readonly("low", &TensorSpec::low)
      .def_readonly("high", &TensorSpec::high);

  py::class_<WorldSpec>(m, "WorldSpec", "What a world is, fixed when it is loaded.")
      .def_readonly("name", &WorldSpec::name)
      .def_readonly("family", &WorldSpec::family)
      .def_readonly("fingerprint", &WorldSpec::fingerprint,
                    "SHA-256 of config, weights and starts; goes with every result.")
      .def_property_readonly(
          "actions", [](const WorldSpec& s) { return s.actions.meanings; },
          "What each discrete action means, in order.")
      .def_readonly("observations", &WorldSpec::observations,
                    "What `observe` can give; the first is the default.")
      .def_readonly("frame", &WorldSpec::frame)
      .def_readonly("frame_skip", &WorldSpec::frame_skip)
      .def_readonly("max_episode_steps", &WorldSpec::max_episode_steps)
      .def_readonly("state_bytes_per_row", &WorldSpec::state_bytes_per_row)
      .def_readonly("dtype", &WorldSpec::dtype,
                    "Of its matrix products: \"float32\" or \"bfloat16\".")
      .def_readonly("temperature", &WorldSpec::temperature, "The calibrated sampling temperature.")
      .def_readonly("passes", &WorldSpec::passes,
                    "Of MaskGIT, in which a frame's tokens are settled; 0 without any.")
      .def_readonly("order", &WorldSpec::order,
                    "Which tokens a pass settles: \"confidence\", \"random\", or \"\".")
      .def_readonly("samples_termination", &WorldSpec::samples_termination,
                    "Termination is drawn from its probability, or thresholded.")
      .def_readonly("knows_support", &WorldSpec::knows_support,
                    "Whether `out_of_support` can be asked for.");
}

void InitState(py::module_& m) {
  py::class_<RowCounters>(m, "RowCounters",
                          "Where each row's random draws stand: arrays of integers, one a row.")
      .def(py::init(&MakeRowCounters), py::arg("seeds"), py::arg("episodes"), py::arg("steps"))
      .def("__len__", &RowCounters::size);

  py::class_<WorldState>(m, "WorldState",
                         "All that moves in a world: tensors whose first dimension is the row.")
      .def_property_readonly("rows", &WorldState::rows)
      .def_property_readonly(
          "fields",
          [](const WorldState& state) {
            std::map<std::string, at::Tensor> fields;
            for (const auto& field : state.fields()) fields.emplace(field.name, field.tensor);
            return fields;
          },
          "The tensors themselves, by name: to write to them moves the world.")
      .def("clone", &WorldState::Clone, Released(), "A deep copy of all rows.")
      .def("select", &WorldState::Select, py::arg("rows"), Released(),
           "A deep copy of the given rows (int64 [R]), in that order.")
      .def_static("copy_rows", &WorldState::CopyRows, py::arg("src"), py::arg("src_rows"),
                  py::arg("dst"), py::arg("dst_rows"), Released(),
                  "dst[dst_rows[i]] = src[src_rows[i]] (int64 [R] each).");

  py::class_<WorldStep>(m, "WorldStep", "What one step brought to each of N rows.")
      .def_readonly("reward", &WorldStep::reward, "float32 [N]")
      .def_readonly("terminated", &WorldStep::terminated, "bool [N]")
      .def_readonly("surprise", &WorldStep::surprise,
                    "float32 [N], nats a latent dimension or token, at temperature 1")
      .def_property_readonly("observation", OrNone(&WorldStep::observation),
                             "[N, *shape]; None unless `step` could write it");
}

}  // namespace

void InitWorld(py::module_& m) {
  InitSpecs(m);
  InitState(m);
  py::class_<World, std::shared_ptr<World>>(
      m, "World",
      "A frozen world model: immutable, and safe to share between environments and threads.")
      .def_static(
          "load",
          [](const std::filesystem::path& path, const std::string& device, const std::string& dtype,
             const std::optional<std::string>& termination, std::optional<int64_t> passes,
             const std::optional<std::string>& order) {
            return std::const_pointer_cast<World>(
                World::Load(path, {.device = device,
                                   .dtype = dtype,
                                   .termination = ParseTermination(termination),
                                   .passes = passes,
                                   .order = order}));
          },
          py::arg("path"), py::kw_only(), py::arg("device") = WorldOptions{}.device,
          py::arg("dtype") = WorldOptions{}.dtype, py::arg("termination") = py::none(),
          py::arg("passes") = py::none(), py::arg("order") = py::none(), Released(),
          "Reads a world directory.\n\n"
          "device: \"cpu\", \"cuda\" or \"cuda:1\". dtype: \"float32\", \"bfloat16\", or "
          "\"auto\",\n"
          "bfloat16 where it is faster. termination: \"sampled\", \"thresholded\", or None for\n"
          "what the world was calibrated with. passes, order: of MaskGIT, for worlds whose\n"
          "frames are tokens; None for the world's own.")
      .def_property_readonly("spec", &World::spec, py::return_value_policy::reference_internal)
      .def_property_readonly("device", &World::device)
      .def("make_state", &World::MakeState, py::arg("rows"), Released(),
           "A state of `rows` rows, none of which has begun.")
      .def(
          "begin",
          [](const World& world, WorldState& state, const at::Tensor& mask, const RowCounters& rng,
             const std::optional<at::Tensor>& frames) {
            world.Begin(state, mask, {.frames = frames}, rng);
          },
          py::arg("state"), py::arg("mask"), py::arg("rng"), py::arg("frames") = py::none(),
          Released(),
          "Begins an episode where `mask` (bool [N]) is true: from a stored start, or from\n"
          "`frames` (uint8 [N, H, W, 3]).")
      .def("step", &World::Step, py::arg("state"), py::arg("actions"), py::arg("temperature"),
           py::arg("rng"), py::arg("wanted") = py::none(), Released(),
           "One sampled frame a row, in place. actions: int64 [N]; temperature: float32 [N].\n"
           "wanted: the observation that will be asked for next; a world that can write it as it\n"
           "computes returns it with the step.")
      .def("follow", &World::Follow, py::arg("state"), py::arg("actions"), py::arg("frames"),
           py::arg("rng"), Released(), "One given frame a row (uint8 [N, H, W, 3]), in place.")
      .def("observe", &World::Observe, py::arg("state"), py::arg("kind"),
           py::arg("rows") = py::none(), Released(),
           "The observation `kind` of the given rows (int64 [R]; None: all), as the spec says: a\n"
           "fresh tensor.")
      .def("out_of_support", &World::OutOfSupport, py::arg("state"), Released(),
           "How far each row's latents are from those of the training frames: float32 [N], their\n"
           "Mahalanobis distance.");
}

}  // namespace genie_env
