// Environments keep their promises in the worlds of every family.
#include "vec_env_conformance.h"

#include "genie_env/kernels/cpu/packed_gemm.h"
#include "genie_env/kernels/device_info.h"
#include "random_genie.h"
#include "random_world.h"

namespace genie_env {
namespace {

class VecEnvConforms : public testing::TestWithParam<const char*> {
 protected:
  void Check(const std::filesystem::path& world) const {
    const std::string dtype = GetParam();
    if (dtype == "bfloat16" && !CanPackBf16()) GTEST_SKIP() << "this processor has no AVX-512";
    at::set_num_threads(1);  // so little work is done sooner by one
    CheckVecEnv(World::Load(world, {.dtype = dtype}), dtype == "bfloat16" ? 0 : 1e-4);
  }

  TemporaryDirectory directory_;
};

INSTANTIATE_TEST_SUITE_P(DTypes, VecEnvConforms, testing::Values("float32", "bfloat16"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(VecEnvConforms, InWorldsOfVisionAndMemory) { Check(WriteRandomWorld(directory_.path())); }
TEST_P(VecEnvConforms, InWorldsOfAJointMixture) {
  Check(WriteRandomWorld(
      directory_.path(),
      {.latents = 11, .hidden = 37, .components = 3, .mixture = MixtureKind::kJoint}));
}
TEST_P(VecEnvConforms, InWorldsWithActionsInABoxAndLearnedRewards) {
  Check(WriteRandomWorld(directory_.path(),
                         {.latents = 11, .hidden = 37, .components = 3, .actions = 2}, 0,
                         JudgingKind()));
}
// With heads, which are all that distinguishes their steps from those of other worlds of Genie.
TEST_P(VecEnvConforms, InWorldsOfGenie) { Check(WriteJudgingGenie(directory_.path())); }

TEST(VecEnv, ConformsInWorldsOfGenieOnTheGpu) {
  if (CudaDevices().empty()) GTEST_SKIP() << "no GPU, or no CUDA kernels in this build";
  const TemporaryDirectory directory;
  CheckVecEnv(World::Load(WriteRandomGenie(directory.path()), {.device = "cuda"}), 1e-3);
}

}  // namespace
}  // namespace genie_env
