#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace genie_env {

/// The SHA-256 of `bytes` (FIPS 180-4), as 64 lower-case hexadecimal digits. Thread-safe.
std::string Sha256(std::span<const std::byte> bytes);

}  // namespace genie_env
