// Any bytes are either an archive whose every member can be read, or a FormatError. The input is
// either the whole archive, or says which members a sound one has and which of its bytes to
// replace: few bytes at random would get past the first header. See README.md.
#include <fuzzer/FuzzedDataProvider.h>

#include "genie_env/core/error.h"
#include "genie_env/io/zip_archive.h"
#include "tests/cpp/zip_bytes.h"

namespace genie_env {
namespace {

std::string Damaged(FuzzedDataProvider& input) {
  std::vector<ZipPart> parts(input.ConsumeIntegralInRange<size_t>(0, 4));
  for (ZipPart& part : parts) {
    part.name = input.ConsumeRandomLengthString(16);
    part.bytes = input.ConsumeRandomLengthString(64);
    part.flags = input.ConsumeBool() ? 0x808 : 0;  // as torch's writer, or Python's
  }
  std::string bytes = ZipBytes(parts);
  while (input.remaining_bytes() > 0) {
    const size_t at = input.ConsumeIntegralInRange<size_t>(0, bytes.size() - 1);
    bytes[at] = input.ConsumeIntegral<char>();
  }
  return bytes;
}

void Read(const std::string& bytes) {
  const ZipArchive archive(std::as_bytes(std::span(bytes)), "input.pt2");
  volatile unsigned sum = 0;
  size_t total = 0;
  for (const auto& [name, member] : archive.members()) {
    if (name.empty() || name.front() == '/' || name.back() == '/') abort();
    total += member.size();
    for (const std::byte byte : member) sum = sum + std::to_integer<unsigned>(byte);
  }
  if (total > bytes.size()) abort();  // members overlap
}

}  // namespace
}  // namespace genie_env

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace genie_env;
  FuzzedDataProvider input(data, size);
  try {
    Read(input.ConsumeBool() ? input.ConsumeRemainingBytesAsString() : Damaged(input));
  } catch (const FormatError&) {
  }
  return 0;
}
