// Any bytes are either a file whose every tensor can be read, or a FormatError. See README.md.
#include "genie_env/core/error.h"
#include "genie_env/io/safetensors.h"
#include "tests/fuzz/scratch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace genie_env;
  const std::filesystem::path path = Scratch() / "input.safetensors";
  WriteBytes(path, {reinterpret_cast<const char*>(data), size});
  try {
    const SafetensorsFile file(path);
    volatile unsigned sum = 0;
    for (const auto& [name, tensor] : file.tensors()) {
      for (const std::byte byte : tensor.bytes) sum = sum + std::to_integer<unsigned>(byte);
    }
    // What can be read can be written, and is then the same.
    WriteSafetensors(Scratch() / "copy.safetensors", file.tensors(), file.metadata());
    const SafetensorsFile copy(Scratch() / "copy.safetensors");
    if (copy.metadata() != file.metadata() || copy.tensors().size() != file.tensors().size()) {
      abort();
    }
  } catch (const FormatError&) {
  }
  return 0;
}
