#include <pybind11/pybind11.h>

namespace genie_env {

void InitBuildInfo(pybind11::module_& m);
void InitError(pybind11::module_& m);
void InitDynamics(pybind11::module_& m);
void InitHeads(pybind11::module_& m);
void InitEpisodeStore(pybind11::module_& m);
void InitExported(pybind11::module_& m);
void InitExportedArchive(pybind11::module_& m);
void InitFile(pybind11::module_& m);
void InitLatentAction(pybind11::module_& m);
void InitLimits(pybind11::module_& m);
void InitMaskGit(pybind11::module_& m);
void InitPackedProduct(pybind11::module_& m);
void InitSafetensors(pybind11::module_& m);
void InitSnapshot(pybind11::module_& m);
void InitStartBank(pybind11::module_& m);
void InitTokenizer(pybind11::module_& m);
void InitTrainer(pybind11::module_& m);
void InitVecEnv(pybind11::module_& m);
void InitWorld(pybind11::module_& m);

}  // namespace genie_env

PYBIND11_MODULE(_core, m) {
  m.doc() = "What genie_env does in C++.";
  genie_env::InitError(m);
  genie_env::InitBuildInfo(m);
  genie_env::InitLimits(m);
  genie_env::InitFile(m);
  genie_env::InitPackedProduct(m);
  genie_env::InitSafetensors(m);
  genie_env::InitEpisodeStore(m);
  genie_env::InitTrainer(m);
  genie_env::InitTokenizer(m);
  genie_env::InitLatentAction(m);
  genie_env::InitDynamics(m);
  genie_env::InitHeads(m);
  genie_env::InitMaskGit(m);
  genie_env::InitExportedArchive(m);
  genie_env::InitWorld(m);
  genie_env::InitExported(m);
  genie_env::InitSnapshot(m);
  genie_env::InitStartBank(m);
  genie_env::InitVecEnv(m);
}
