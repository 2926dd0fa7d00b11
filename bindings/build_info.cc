#include <ATen/Version.h>
#include <pybind11/pybind11.h>
#include <pybind11/typing.h>

#include "genie_env/core/version.h"
#include "genie_env/kernels/cpu/packed_product.h"
#include "genie_env/kernels/device_info.h"
#include "genie_env/tensor/device.h"

namespace genie_env {
namespace py = pybind11;

namespace {

#ifdef __clang__
constexpr const char* kCompiler = "clang " __clang_version__;
#else
constexpr const char* kCompiler = "gcc " __VERSION__;
#endif

py::typing::Dict<py::str, py::object> BuildInfo() {
  const std::string toolkit = CudaToolkitVersion();
  py::typing::Dict<py::str, py::object> info;
  info["version"] = GENIE_ENV_VERSION;
  info["torch"] = GENIE_ENV_TORCH_VERSION;
  info["compiler"] = kCompiler;
  info["openmp"] = HasOpenMp();
  info["cuda_kernels"] = toolkit.empty() ? py::object(py::none()) : py::str(toolkit);
  info["cpu_capability"] = at::get_cpu_capability();
  info["instruction_sets"] = InstructionSetsInUse();
  py::list gpus;
  for (const CudaDevice& device : CudaDevices()) {
    py::dict gpu;
    gpu["name"] = device.name;
    gpu["compute_capability"] = device.compute_capability / 10.0;
    gpu["memory_bytes"] = device.memory_bytes;
    gpu["runs_kernels"] = device.runs_kernels;
    gpus.append(gpu);
  }
  info["gpus"] = gpus;
  return info;
}

}  // namespace

void InitBuildInfo(py::module_& m) {
  m.def("build_info", &BuildInfo,
        "How this genie_env was built: its \"version\", the \"torch\" it was built against, the "
        "\"compiler\", whether its loops run on several threads (\"openmp\"), the toolkit of its "
        "\"cuda_kernels\" (None without), the \"cpu_capability\" that torch's kernels use on this "
        "machine, the \"instruction_sets\" that ours use, and the \"gpus\" that the CUDA kernels "
        "see: each \"name\", "
        "\"compute_capability\", \"memory_bytes\", and whether it \"runs_kernels\".");
}

}  // namespace genie_env
