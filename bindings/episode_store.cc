#include "genie_env/data/episode_store.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <memory>
#include <optional>
#include <stdexcept>

#include "genie_env/core/exclusive.h"
#include "genie_env/core/text.h"

namespace genie_env {
namespace {

namespace py = pybind11;

using Shape = std::vector<py::ssize_t>;

Shape ShapeOf(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

/// The array in row-major order, copied if needed. Throws unless it has this dtype and shape.
template <typename T>
py::array_t<T, py::array::c_style> Checked(const char* name, const py::array& array,
                                           const Shape& shape) {
  if (!py::dtype::of<T>().equal(array.dtype())) {
    throw std::invalid_argument(std::string(name) + " has dtype " +
                                std::string(py::str(array.dtype())) + ", expected " +
                                std::string(py::str(py::dtype::of<T>())));
  }
  if (ShapeOf(array) != shape) {
    throw std::invalid_argument(std::string(name) + " has the shape " + TupleText(ShapeOf(array)) +
                                ", expected " + TupleText(shape));
  }
  return array;
}

/// The elements in the library's type: flags are bytes.
template <typename Stored, typename T>
std::span<const Stored> Elements(const py::array_t<T, py::array::c_style>& array) {
  static_assert(sizeof(Stored) == sizeof(T));
  return {reinterpret_cast<const Stored*>(array.data()), static_cast<size_t>(array.size())};
}

/// Tells the caller of the episodes that are lost.
void WarnOfLoss(const std::string& loss) {
  if (!loss.empty() && PyErr_WarnEx(PyExc_RuntimeWarning, loss.c_str(), 1) != 0) {
    throw py::error_already_set();
  }
}

/// A writer that Python can close, and that one thread at a time may use.
class PythonEpisodeWriter {
 public:
  PythonEpisodeWriter(const std::filesystem::path& directory, int64_t height, int64_t width,
                      const std::string& meta)
      : writer_(std::in_place, directory, height, width, meta), height_(height), width_(width) {
    WarnOfLoss(writer_->loss());
  }

  void Append(const py::array& frames, const py::array& actions, const py::array& rewards,
              const py::array& terminations, const py::array& truncations,
              const std::optional<py::array>& final_frame) {
    const auto [box, action_shape, has_final] = Declared();
    const auto dimensions = static_cast<py::ssize_t>(1 + action_shape.size());
    if (actions.ndim() != dimensions) {
      const std::string expected = dimensions == 1 ? "(T,)" : "(T, ...)";
      throw std::invalid_argument("actions has the shape " + TupleText(ShapeOf(actions)) +
                                  ", expected " + expected);
    }
    if (has_final != final_frame.has_value()) {
      throw std::invalid_argument(
          has_final ? "the episode has no final_frame, which meta declares"
                    : "the episode has a final_frame, which meta does not declare");
    }
    const py::ssize_t steps = actions.shape(0);
    Shape expected_actions{steps};
    expected_actions.insert(expected_actions.end(), action_shape.begin(), action_shape.end());
    py::array_t<int64_t, py::array::c_style> a;
    py::array_t<float, py::array::c_style> b;
    py::array_t<uint8_t, py::array::c_style> last;
    const auto f = Checked<uint8_t>("frames", frames, {steps, height_, width_, 3});
    if (box) {
      b = Checked<float>("actions", actions, expected_actions);
    } else {
      a = Checked<int64_t>("actions", actions, expected_actions);
    }
    if (final_frame) last = Checked<uint8_t>("final_frame", *final_frame, {height_, width_, 3});
    const auto r = Checked<float>("rewards", rewards, {steps});
    const auto d = Checked<bool>("terminations", terminations, {steps});
    const auto t = Checked<bool>("truncations", truncations, {steps});
    const EpisodeView episode{Elements<uint8_t>(f),   Elements<int64_t>(a), Elements<float>(r),
                              Elements<uint8_t>(d),   Elements<uint8_t>(t), Elements<float>(b),
                              Elements<uint8_t>(last)};
    const py::gil_scoped_release released;
    const Exclusive::Call call = calls_.Enter("append");
    Writer().Append(episode);
  }

  int64_t num_episodes() { return Count("num_episodes", &EpisodeWriter::num_episodes); }
  int64_t num_frames() { return Count("num_frames", &EpisodeWriter::num_frames); }

  /// Waits for the call of another thread.
  void Close() {
    const py::gil_scoped_release released;
    const Exclusive::Call call = calls_.Wait("close");
    writer_.reset();
  }

 private:
  EpisodeWriter& Writer() {
    if (!writer_) throw std::invalid_argument("the episode writer is closed; open a new one");
    return *writer_;
  }

  struct Declaration {
    bool box;
    std::vector<int64_t> action_shape;
    bool final_frames;
  };
  Declaration Declared() {
    const Exclusive::Call call = calls_.Enter("append");
    return {Writer().has_box_actions(), Writer().action_shape(), Writer().has_final_frames()};
  }

  int64_t Count(const char* name, int64_t (EpisodeWriter::*count)() const) {
    const Exclusive::Call call = calls_.Enter(name);
    return (Writer().*count)();
  }

  Exclusive calls_{"writer"};
  std::optional<EpisodeWriter> writer_;
  int64_t height_;
  int64_t width_;
};

/// A read-only array of T over `elements`, which keeps `owner` alive.
template <typename T, typename Stored>
py::array_t<T> View(const py::object& owner, std::span<const Stored> elements, const Shape& shape) {
  static_assert(sizeof(Stored) == sizeof(T));
  // An empty store has a null pointer, from which NumPy would copy.
  static const Stored nothing{};
  const Stored* data = elements.empty() ? &nothing : elements.data();
  py::array_t<T> view(shape, reinterpret_cast<const T*>(data), owner);
  view.attr("flags").attr("writeable") = false;
  return view;
}

/// The getter of a one-dimensional array.
template <typename T, typename Stored>
auto Column(std::span<const Stored> (EpisodeStore::*elements)() const) {
  return [elements](const py::object& self) {
    const std::span<const Stored> column = (self.cast<const EpisodeStore&>().*elements)();
    return View<T>(self, column, {static_cast<py::ssize_t>(column.size())});
  };
}

}  // namespace

void InitEpisodeStore(py::module_& m) {
  py::class_<PythonEpisodeWriter>(m, "EpisodeWriter", R"(
Appends whole episodes to a directory of standard NumPy arrays (see EpisodeStore).

An episode is stored once `append` has returned; a kill loses at most the one in flight. A directory
has one writer at a time. The writer is a context manager that closes the files. A call while
another thread is in one raises Busy; `close` waits.

    meta = {"format_version": 1, "game": "my-game", "actions": ["left", "right"]}
    with EpisodeWriter("data/take-cover", 64, 64, json.dumps(meta)) as writer:
        writer.append(frames, actions, rewards, terminations, truncations)
)")
      .def(py::init<const std::filesystem::path&, int64_t, int64_t, const std::string&>(),
           py::arg("directory"), py::arg("height"), py::arg("width"), py::arg("meta"), R"(
Creates the directory, or continues after its last whole episode (frames must then have the same
size).

`meta` is the text of meta.json, of format 1 or 2 (docs/formats.md); an existing one is replaced,
which must have declared the same columns and actions. Raises ValueError on wrong arguments, FormatError on a damaged directory or one of another
format version, RuntimeError when another writer has it open or the disk is full. Warns
(RuntimeWarning) of episodes that a power loss or an incomplete copy took; what is left of them is
copied to lost_1/ within the directory.
)")
      .def("append", &PythonEpisodeWriter::Append, py::arg("frames"), py::arg("actions"),
           py::arg("rewards"), py::arg("terminations"), py::arg("truncations"),
           py::arg("final_frame") = py::none(), R"(
Appends one episode of T steps.

frames uint8 [T, height, width, 3], actions int64 [T] or float32 [T, ...] as meta declares, rewards
float32 [T], terminations and truncations bool [T], one of them true at the last step and none
before, final_frame uint8 [height, width, 3] where meta declares final frames. Raises ValueError on
other arguments, RuntimeError when the disk is full; appending works again once there is room.
)")
      .def_property_readonly("num_episodes", &PythonEpisodeWriter::num_episodes,
                             "Complete episodes in the directory.")
      .def_property_readonly("num_frames", &PythonEpisodeWriter::num_frames)
      .def("close", &PythonEpisodeWriter::Close, "Closes the files; may be called again.")
      .def("__enter__", [](const py::object& self) { return self; })
      .def("__exit__", [](PythonEpisodeWriter& self, const py::args&) { self.Close(); });

  py::class_<EpisodeStore>(m, "EpisodeStore", R"(
A directory of recorded episodes, mapped into memory: N frames of E episodes.

Index t holds frame t, the action chosen on seeing it, and the reward and flags that this action
brought. The arrays are read-only views that stay valid as long as they are referenced.
It holds the episodes that were complete when it was opened.
)")
      .def(py::init([](const std::filesystem::path& directory) {
             std::unique_ptr<EpisodeStore> store;
             {
               const py::gil_scoped_release released;
               store = std::make_unique<EpisodeStore>(directory);
             }
             WarnOfLoss(store->loss());
             return store;
           }),
           py::arg("directory"), R"(
Checks every file against the others.

Raises FormatError naming the file. After a power loss, or in an incomplete copy, it holds the whole
episodes before the first that is not, and warns of the others (RuntimeWarning).
)")
      .def_property_readonly("num_episodes", &EpisodeStore::num_episodes)
      .def_property_readonly("num_frames", &EpisodeStore::num_frames)
      .def_property_readonly("height", &EpisodeStore::height)
      .def_property_readonly("width", &EpisodeStore::width)
      .def_property_readonly(
          "frames",
          [](const py::object& self) {
            const auto& store = self.cast<const EpisodeStore&>();
            return View<uint8_t>(self, store.frames(),
                                 {store.num_frames(), store.height(), store.width(), 3});
          },
          "uint8 [N, height, width, 3]")
      .def_property_readonly(
          "actions",
          [](const py::object& self) -> py::array {
            const auto& store = self.cast<const EpisodeStore&>();
            Shape shape{store.num_frames()};
            shape.insert(shape.end(), store.action_shape().begin(), store.action_shape().end());
            if (store.has_box_actions()) return View<float>(self, store.box_actions(), shape);
            return View<int64_t>(self, store.actions(), shape);
          },
          "int64 [N] of numbered actions, float32 [N, ...] of a box")
      .def_property_readonly(
          "final_frames",
          [](const py::object& self) -> std::optional<py::array_t<uint8_t>> {
            const auto& store = self.cast<const EpisodeStore&>();
            if (!store.has_final_frames()) return std::nullopt;
            return View<uint8_t>(self, store.final_frames(),
                                 {store.num_episodes(), store.height(), store.width(), 3});
          },
          "uint8 [E, height, width, 3]: the frame after each episode's last action; None where the "
          "game shows none")
      .def_property_readonly("rewards", Column<float>(&EpisodeStore::rewards), "float32 [N]")
      .def_property_readonly("terminations", Column<bool>(&EpisodeStore::terminations), "bool [N]")
      .def_property_readonly("truncations", Column<bool>(&EpisodeStore::truncations), "bool [N]")
      .def_property_readonly("episode_starts", Column<int64_t>(&EpisodeStore::episode_starts),
                             "int64 [E + 1]: episode e is frames[starts[e]:starts[e + 1]]")
      .def_property_readonly("meta", &EpisodeStore::meta,
                             "The text of meta.json: how the episodes were recorded.");
}

}  // namespace genie_env
