#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace genie_env {

/// The CRC-32 of zip files (ISO 3309) of what `crc` is the CRC-32 of, followed by `bytes`.
/// Thread-safe.
uint32_t Crc32(std::span<const std::byte> bytes, uint32_t crc = 0);

}  // namespace genie_env
