// Any bytes are either the configuration of a world, or a FormatError. See README.md.
#include "genie_env/core/error.h"
#include "genie_env/io/world_directory.h"
#include "tests/fuzz/scratch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace genie_env;
  WriteBytes(Scratch() / "config.json", data, size);
  WriteBytes(Scratch() / "model.safetensors", nullptr, 0);
  WriteBytes(Scratch() / "starts.safetensors", nullptr, 0);
  try {
    const WorldDirectory world = OpenWorldDirectory(Scratch());
    if (world.family.empty() || world.name.empty() || world.fingerprint.size() != 64) abort();
  } catch (const FormatError&) {
  }
  return 0;
}
