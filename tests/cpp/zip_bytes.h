#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "genie_env/io/crc32.h"

namespace genie_env {

/// A member of an archive as its headers describe it; what is not set is as it should be.
struct ZipPart {
  std::string name = {}, bytes = {};
  uint16_t flags = 0, method = 0;
  std::string extra = {}, central_extra = {}, comment = {};
  std::optional<std::string> local_name = {};  ///< in the header before the bytes
  std::optional<uint32_t> crc = {};
  std::optional<uint64_t> size = {}, stored = {}, offset = {};  ///< in the directory
};

/// The bytes of an archive; what follows the directory's header counts `counted` members.
inline std::string ZipBytes(const std::vector<ZipPart>& parts, std::optional<size_t> counted = {},
                            const std::string& between = "") {
  std::string bytes, directory;
  const auto number = [](std::string& to, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; ++i) to += static_cast<char>(value >> (8 * i));
  };
  for (const ZipPart& part : parts) {
    const uint64_t offset = bytes.size(), size = part.bytes.size();
    const uint32_t crc = part.crc.value_or(Crc32(std::as_bytes(std::span(part.bytes))));
    const bool descriptor = (part.flags & 8) != 0;
    const auto sums = [&](std::string& to, uint64_t stored, uint64_t original, bool given) {
      number(to, given ? crc : 0, 4);
      number(to, given ? stored : 0, 4);
      number(to, given ? original : 0, 4);
    };
    const std::string local_name = part.local_name.value_or(part.name);
    number(bytes, 0x04034B50, 4);
    number(bytes, 0, 2);
    number(bytes, part.flags, 2);
    number(bytes, part.method, 2);
    number(bytes, 0, 4);
    sums(bytes, size, size, !descriptor);
    number(bytes, local_name.size(), 2);
    number(bytes, part.extra.size(), 2);
    bytes += local_name + part.extra + part.bytes;
    if (descriptor) {
      number(bytes, 0x08074B50, 4);
      sums(bytes, size, size, true);
    }
    bytes += between;
    number(directory, 0x02014B50, 4);
    number(directory, 0, 4);
    number(directory, part.flags, 2);
    number(directory, part.method, 2);
    number(directory, 0, 4);
    sums(directory, part.stored.value_or(part.size.value_or(size)), part.size.value_or(size), true);
    number(directory, part.name.size(), 2);
    number(directory, part.central_extra.size(), 2);
    number(directory, part.comment.size(), 2);
    number(directory, 0, 8);
    number(directory, part.offset.value_or(offset), 4);
    directory += part.name + part.central_extra + part.comment;
  }
  const uint64_t offset = bytes.size();
  bytes += directory;
  number(bytes, 0x06054B50, 4);
  number(bytes, 0, 4);
  number(bytes, counted.value_or(parts.size()), 2);
  number(bytes, counted.value_or(parts.size()), 2);
  number(bytes, directory.size(), 4);
  number(bytes, offset, 4);
  number(bytes, 0, 2);
  return bytes;
}

}  // namespace genie_env
