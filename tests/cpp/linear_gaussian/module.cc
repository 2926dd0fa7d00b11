// The family as a Python extension of its own: importing it registers the family with genie_env.
#include <pybind11/pybind11.h>

#include "linear_gaussian/world.h"

PYBIND11_MODULE(_linear_gaussian, m) {
  namespace py = pybind11;
  m.doc() = "The linear-gaussian world family.";
  const auto capsule =
      py::module_::import("genie_env._core").attr("_register_world_family").cast<py::capsule>();
  void* const pointer = PyCapsule_GetPointer(capsule.ptr(), genie_env::kRegisterCapsule);
  if (pointer == nullptr) throw py::error_already_set();  // built with another genie_env
  const auto register_family = reinterpret_cast<void (*)(genie_env::WorldFamily)>(pointer);
  register_family(genie_env::LinearGaussianFamily());
}
