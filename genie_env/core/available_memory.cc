#include "genie_env/core/available_memory.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace genie_env {
namespace {

using Path = std::filesystem::path;

/// The number after `name` in a file of lines such as "MemAvailable:   123 kB"; empty where there
/// is none. With an empty name: the number that the file begins with ("max" is none).
std::optional<int64_t> NumberIn(const Path& file, std::string_view name = {}) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name)) continue;
    const size_t begin = std::min(line.find_first_not_of(" \t", name.size()), line.size());
    int64_t number = 0;
    const auto [end, error] =
        std::from_chars(line.data() + begin, line.data() + line.size(), number);
    return error == std::errc() ? std::optional(number) : std::nullopt;
  }
  return std::nullopt;
}

/// One version of control groups.
struct Version {
  std::string controller;    ///< its name in /proc/self/cgroup
  std::vector<Path> mounts;  ///< where the groups may lie
  std::vector<Path> limits;  ///< beyond which the kernel ends the process, or all but stops it
  Path usage;
  /// In memory.stat: pages of files, which the kernel drops before it ends a process.
  std::array<std::string_view, 2> files;
};

std::vector<Version> Versions() {
  return {{.controller = "",
           .mounts = {"sys/fs/cgroup", "sys/fs/cgroup/unified"},
           .limits = {"memory.max", "memory.high"},
           .usage = "memory.current",
           .files = {"inactive_file ", "active_file "}},
          {.controller = "memory",
           .mounts = {"sys/fs/cgroup/memory"},
           .limits = {"memory.limit_in_bytes"},
           .usage = "memory.usage_in_bytes",
           .files = {"total_inactive_file ", "total_active_file "}}};
}

/// The path of the process's group within the mount; empty where it has none of this version.
std::optional<Path> GroupOf(const Path& root, const Version& version) {
  std::ifstream lines(root / "proc/self/cgroup");
  // A line is number:controllers:group, with commas between the controllers.
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers.find("," + version.controller + ",") == std::string::npos) continue;
    return Path(line.substr(second + 1)).relative_path();
  }
  return std::nullopt;
}

/// What the limits of one group leave; empty where it has none.
std::optional<int64_t> LeftIn(const Path& group, const Version& version) {
  std::optional<int64_t> limit;
  for (const Path& file : version.limits) {
    const std::optional<int64_t> number = NumberIn(group / file);
    if (number) limit = std::min(limit.value_or(*number), *number);
  }
  const std::optional<int64_t> usage = NumberIn(group / version.usage);
  if (!limit || !usage) return std::nullopt;
  int64_t files = 0;
  for (const std::string_view name : version.files) {
    files += NumberIn(group / "memory.stat", name).value_or(0);
  }
  return std::max<int64_t>(0, *limit - std::max<int64_t>(0, *usage - files));
}

}  // namespace

std::optional<int64_t> AvailableMemory(const Path& root) {
  std::optional<int64_t> available = NumberIn(root / "proc/meminfo", "MemAvailable:");
  if (available) *available *= 1024;
  for (const Version& version : Versions()) {
    const std::optional<Path> group = GroupOf(root, version);
    if (!group) continue;
    for (const Path& mount : version.mounts) {
      // A limit holds for all groups below. (In a container, the groups on the way up to its own
      // may not be there; its own is then the mount.)
      for (Path below = *group;; below = below.parent_path()) {
        const std::optional<int64_t> left = LeftIn(root / mount / below, version);
        if (left) available = std::min(available.value_or(*left), *left);
        if (below.empty()) break;
      }
    }
  }
  return available;
}

}  // namespace genie_env
