#include "genie_env/core/limits.h"

#include <pybind11/pybind11.h>
#include <pybind11/typing.h>

namespace genie_env {
namespace py = pybind11;

void InitLimits(py::module_& m) {
  py::typing::Dict<py::str, py::int_> limits;
  limits["actions"] = kMaxActions;
  limits["recorded_side"] = kMaxRecordedSide;
  limits["frame_side"] = kMaxFrameSide;
  limits["latents"] = kMaxLatents;
  limits["hidden"] = kMaxHidden;
  limits["components"] = kMaxComponents;
  limits["codes"] = kMaxCodes;
  limits["latent_actions"] = kMaxLatentActions;
  limits["code_dimensions"] = kMaxCodeDimensions;
  limits["positions"] = kMaxPositions;
  limits["width"] = kMaxWidth;
  limits["blocks"] = kMaxBlocks;
  limits["window"] = kMaxWindow;
  limits["passes"] = kMaxPasses;
  m.attr("limits") = limits;
}

}  // namespace genie_env
