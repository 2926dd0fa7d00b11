// Runs examples/cpp/dream_agent.cc as its users do.

#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>

#include <limits>
#include <string>

#include "tests/cpp/files.h"
#include "tests/cpp/random_world.h"

namespace genie_env {
namespace {

struct Outcome {
  int code = 0;
  std::string output;  // of both streams
};

Outcome DreamAgent(const std::string& arguments) {
  const std::string command = std::string(GENIE_ENV_DREAM_AGENT) + " " + arguments + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot run " + command);
  Outcome outcome;
  char buffer[256];
  while (fgets(buffer, sizeof(buffer), pipe) != nullptr) outcome.output += buffer;
  outcome.code = WEXITSTATUS(pclose(pipe));
  return outcome;
}

void ExpectFailure(const std::string& arguments, int code, const std::string& words) {
  const Outcome outcome = DreamAgent(arguments);
  EXPECT_EQ(outcome.code, code) << arguments;
  EXPECT_NE(outcome.output.find(words), std::string::npos) << outcome.output;
}

class DreamAgentTest : public testing::Test {
 protected:
  static constexpr MemorySizes kSizes = {8, 16, 2};
  static constexpr int64_t kFeatures = 8 + 2 * 16;  // z, c and h

  std::string WriteAgent(int64_t features, float weight = 0.1f,
                         const std::map<std::string, std::string>& metadata = {
                             {"observation", "zch"}}) const {
    const at::Tensor weights = at::full({features}, weight);
    const std::span bytes(weights.const_data_ptr<float>(), static_cast<size_t>(features));
    WriteSafetensors(agent_, {{"weight", {StoredType::kFloat32, {features}, std::as_bytes(bytes)}}},
                     metadata);
    return agent_.string();
  }

  TemporaryDirectory directory_;
  std::filesystem::path agent_ = directory_.path() / "agent.safetensors";
  std::string world_ = WriteRandomWorld(directory_.path() / "world", kSizes).string();
};

TEST_F(DreamAgentTest, LivesInEveryDream) {
  const std::string command = world_ + " " + WriteAgent(kFeatures) + " --dreams 50";
  const Outcome outcome = DreamAgent(command + " --seed 3");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("random: 50 dreams at temperature 1.15\nsurvival: "),
            std::string::npos)
      << outcome.output;
  EXPECT_NE(outcome.output.find(" steps/s ("), std::string::npos) << outcome.output;

  const auto survival = [](const Outcome& of) {
    return of.output.substr(0, of.output.find("speed: "));
  };
  EXPECT_EQ(survival(outcome), survival(DreamAgent(command + " --seed 3")));
  EXPECT_NE(survival(outcome), survival(DreamAgent(command + " --seed 4")));
}

TEST_F(DreamAgentTest, WrongCommandLinesAreAnsweredWithTheUsage) {
  ExpectFailure("", 2, "a world and an agent are needed, but 0 paths were given\n\nusage: ");
  ExpectFailure("here", 2, "but 1 path was given");
  ExpectFailure("here there --dreams", 2, "--dreams needs a value after it");
  ExpectFailure("here there --dreams 10x", 2, "--dreams needs a number, but got '10x'");
  ExpectFailure("here there --sleep 1", 2, "there is no option --sleep");
}

TEST_F(DreamAgentTest, SaysWhatIsWrongWithItsFiles) {
  ExpectFailure("/nowhere " + WriteAgent(kFeatures), 1, "/nowhere is not a world directory");
  ExpectFailure(world_ + " /nowhere.safetensors", 1, "/nowhere.safetensors");
  ExpectFailure(world_ + " " + WriteAgent(kFeatures, 0.1f, {}), 1, "is not a linear controller");
  ExpectFailure(world_ + " " + WriteAgent(kFeatures, std::numeric_limits<float>::quiet_NaN()), 1,
                "\"weight\" holds NaN");
  ExpectFailure(world_ + " " + WriteAgent(7), 1,
                "the agent has 7 weights, but \"zch\" has another");
  ExpectFailure(world_ + " " + WriteAgent(kFeatures, 0.1f, {{"observation", "smell"}}), 1, "smell");
}

}  // namespace
}  // namespace genie_env
