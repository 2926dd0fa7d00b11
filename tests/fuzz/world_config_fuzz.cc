// Any bytes are either the configuration of a world of the vision-memory family, or a FormatError.
// The input is either the whole file, or says which fields of a sound one to replace, and by what:
// few bytes at random would get past the first field. See README.md.
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <string>

#include "genie_env/core/error.h"
#include "genie_env/io/world_directory.h"
#include "genie_env/worlds/vision_memory_config.h"
#include "tests/fuzz/scratch.h"

namespace genie_env {
namespace {

/// What stands before a value, and the value.
using Part = std::array<const char*, 2>;
constexpr std::array kSound{
    Part{R"({"format_version":)", "1"},
    Part{R"(,"family":)", R"("vision-memory")"},
    Part{R"(,"name":)", R"("fuzz")"},
    Part{R"(,"sizes":{"latents":)", "16"},
    Part{R"(,"hidden":)", "32"},
    Part{R"(,"components":)", "3"},
    Part{R"(},"actions":{"meanings":)", R"(["left","stay","right"])"},
    Part{R"(,"inputs":)", "[-1.0,0.0,1.0]"},
    Part{R"(},"frame":{"height":)", "64"},
    Part{R"(,"width":)", "64"},
    Part{R"(},"frame_skip":)", "1"},
    Part{R"(,"max_episode_steps":)", "100"},
    Part{R"(,"reward_per_step":)", "1.0"},
    Part{R"(,"temperature":)", "1.15"},
    Part{R"(,"termination":)", R"("sampled")"},
};

std::string Damaged(FuzzedDataProvider& input) {
  std::array<std::string, kSound.size()> values;
  for (size_t i = 0; i < values.size(); ++i) values[i] = kSound[i][1];
  while (input.remaining_bytes() > 0) {
    const size_t field = input.ConsumeIntegralInRange<size_t>(0, values.size() - 1);
    values[field] = input.ConsumeRandomLengthString();
  }
  std::string text;
  for (size_t i = 0; i < values.size(); ++i) text += kSound[i][0] + values[i];
  return text + "}";
}

void Read(const std::string& text) {
  WriteBytes(Scratch() / "config.json", reinterpret_cast<const uint8_t*>(text.data()), text.size());
  const WorldDirectory world = OpenWorldDirectory(Scratch());
  if (world.family.empty() || world.name.empty() || world.fingerprint.size() != 64) abort();
  const VisionMemoryConfig config = ParseVisionMemoryConfig(world.config, "config.json");
  if (config.latents < 1 || config.hidden < 1 || config.components < 1) abort();
  if (config.action_inputs.size() != config.action_meanings.size()) abort();
}

}  // namespace
}  // namespace genie_env

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace genie_env;
  FuzzedDataProvider input(data, size);
  WriteBytes(Scratch() / "model.safetensors", nullptr, 0);
  WriteBytes(Scratch() / "starts.safetensors", nullptr, 0);
  try {
    Read(input.ConsumeBool() ? input.ConsumeRemainingBytesAsString() : Damaged(input));
  } catch (const FormatError&) {
  }
  return 0;
}
