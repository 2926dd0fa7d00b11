#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>

namespace genie_env {

/// The SHA-256 of `bytes` (FIPS 180-4), as 64 lower-case hexadecimal digits. `between_pieces` is
/// called every 16 MiB, some ten times a second, and may throw. Thread-safe.
std::string Sha256(std::span<const std::byte> bytes,
                   const std::function<void()>& between_pieces = nullptr);

}  // namespace genie_env
