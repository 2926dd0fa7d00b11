#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace genie_env {

/// Bytes that this process can still allocate and use: what the system has, or what the process's
/// control groups (cgroup v1 and v2) leave of their limits, whichever is less. Pages of files that
/// can be dropped count as free. Empty where the system does not say. `root` is where /proc and
/// /sys lie.
std::optional<int64_t> AvailableMemory(const std::filesystem::path& root = "/");

}  // namespace genie_env
