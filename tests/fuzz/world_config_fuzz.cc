// Any bytes are either the configuration of a world, or a FormatError. The input is either the
// whole file, or says which fields of a sound one to replace, and by what: few bytes at random
// would get past the first field. See README.md.
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <string>
#include <vector>

#include "genie_env/core/error.h"
#include "genie_env/worlds/genie/config.h"
#include "genie_env/worlds/vision_memory/config.h"
#include "genie_env/worlds/world_directory.h"
#include "tests/fuzz/scratch.h"

namespace genie_env {
namespace {

/// What stands before a value, and the value.
using Part = std::array<const char*, 2>;

const std::vector<Part>& Sound(bool genie) {
  static const std::vector<Part> vision_memory{
      {R"({"format_version":)", "1"},
      {R"(,"family":)", R"("vision-memory")"},
      {R"(,"name":)", R"("fuzz")"},
      {R"(,"sizes":{"latents":)", "16"},
      {R"(,"hidden":)", "32"},
      {R"(,"components":)", "3"},
      {R"(},"actions":{"meanings":)", R"(["left","stay","right"])"},
      {R"(,"inputs":)", "[-1.0,0.0,1.0]"},
      {R"(},"frame":{"height":)", "64"},
      {R"(,"width":)", "64"},
      {R"(},"frame_skip":)", "1"},
      {R"(,"max_episode_steps":)", "100"},
      {R"(,"reward_per_step":)", "1.0"},
      {R"(,"temperature":)", "1.15"},
      {R"(,"termination":)", R"("sampled")"},
  };
  static const std::vector<Part> genies{
      {R"({"format_version":)", "1"},
      {R"(,"family":)", R"("genie")"},
      {R"(,"name":)", R"("fuzz")"},
      {R"(,"frame":{"height":)", "64"},
      {R"(,"width":)", "64"},
      {R"(},"tokenizer":{"patch":)", "8"},
      {R"(,"width":)", "192"},
      {R"(,"heads":)", "3"},
      {R"(,"encoder_blocks":)", "4"},
      {R"(,"decoder_blocks":)", "4"},
      {R"(,"codes":)", "1024"},
      {R"(,"code_dimensions":)", "8"},
      {R"(,"band":)", "4"},
      {R"(},"dynamics":{"width":)", "192"},
      {R"(,"heads":)", "3"},
      {R"(,"blocks":)", "4"},
      {R"(,"band":)", "16"},
      {R"(,"passes":)", "4"},
      {R"(,"columns":)", "8"},
      {R"(},"order":)", R"("confidence")"},
      {R"(,"actions":{"meanings":)", R"(["0","1"])"},
      {R"(,"code_dimensions":)", "8"},
      {R"(},"frame_skip":)", "4"},
      {R"(,"max_episode_steps":)", "525"},
      {R"(,"temperature":)", "1.0"},
  };
  return genie ? genies : vision_memory;
}

std::string Damaged(FuzzedDataProvider& input) {
  const std::vector<Part>& sound = Sound(input.ConsumeBool());
  std::vector<std::string> values;
  for (const Part& part : sound) values.emplace_back(part[1]);
  while (input.remaining_bytes() > 0) {
    const size_t field = input.ConsumeIntegralInRange<size_t>(0, values.size() - 1);
    values[field] = input.ConsumeRandomLengthString();
  }
  std::string text;
  for (size_t i = 0; i < values.size(); ++i) text += sound[i][0] + values[i];
  return text + "}";
}

void ReadVisionMemory(const std::string& text) {
  const VisionMemoryConfig config = ParseVisionMemoryConfig(text, "config.json");
  if (config.latents < 1 || config.hidden < 1 || config.components < 1) abort();
  const size_t inputs = config.action_inputs.size();  // none: one-hot, or a box
  if (inputs != 0 && inputs != config.actions.meanings.size()) abort();
}

void ReadGenie(const std::string& text) {
  const GenieConfig config = ParseGenieConfig(text, "config.json");
  config.tokenizer.clip.Check();
  config.tokenizer.block.Check();
  config.dynamics.block.Check();
  if (config.dynamics.positions != config.tokenizer.clip.positions()) abort();
  if (config.dynamics.codes != config.tokenizer.codes || config.dynamics.passes < 1) abort();
}

void Read(const std::string& text) {
  WriteBytes(Scratch() / "config.json", text);
  const WorldDirectory world = OpenWorldDirectory(Scratch());
  if (world.family.empty() || world.name.empty() || world.fingerprint.size() != 64) abort();
  (world.family == "genie" ? ReadGenie : ReadVisionMemory)(world.config);
}

}  // namespace
}  // namespace genie_env

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  const std::string empty("\2\0\0\0\0\0\0\0{}", 10);  // a safetensors file without tensors
  genie_env::WriteBytes(genie_env::Scratch() / "model.safetensors", empty);
  genie_env::WriteBytes(genie_env::Scratch() / "starts.safetensors", empty);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace genie_env;
  FuzzedDataProvider input(data, size);
  try {
    Read(input.ConsumeBool() ? input.ConsumeRemainingBytesAsString() : Damaged(input));
  } catch (const FormatError&) {
  }
  return 0;
}
