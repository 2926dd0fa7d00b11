#include "genie_env/worlds/exported/compiled_folder.h"

#include <sys/stat.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "genie_env/io/json_check.h"

namespace genie_env {
namespace {

// A line of /proc/cpuinfo; all processors of a machine have the same.
std::string ProcessorField(const std::string& name) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name)) return line.substr(line.find(':') + 1);
  }
  return " unknown";
}

std::string TextOf(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

// Machine code that others could have written is not run.
void CheckOwner(const std::filesystem::path& folder) {
  struct stat status {};
  const bool own = stat(folder.c_str(), &status) == 0 && status.st_uid == geteuid() &&
                   (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
  if (own) return;
  throw std::invalid_argument("option 'compile' was given, but others can write to " +
                              folder.string() + ": remove it, and compile again");
}

}  // namespace

std::filesystem::path CompiledFolder(const std::string& fingerprint) {
  const auto inside = [&](const std::filesystem::path& cache) {
    return cache / "compiled" / fingerprint;
  };
  // Relative folders are passed over: code of the current one is nobody's own.
  const auto folder = [](const char* variable) {
    const char* const value = std::getenv(variable);
    const std::filesystem::path path = value == nullptr ? "" : value;
    return path.is_absolute() ? path : std::filesystem::path();
  };
  if (const auto own = folder("GENIE_ENV_CACHE"); !own.empty()) return inside(own);
  if (const auto cache = folder("XDG_CACHE_HOME"); !cache.empty()) {
    return inside(cache / "genie_env");
  }
  if (const auto home = folder("HOME"); !home.empty()) {
    return inside(home / ".cache" / "genie_env");
  }
  throw std::runtime_error(
      "there is no folder for compiled code: set GENIE_ENV_CACHE, or HOME, or leave compile out");
}

std::string CompilingMachine() {
  return "torch " + std::string(TORCH_VERSION) + "\nprocessor" + ProcessorField("model name") +
         "\nfamily" + ProcessorField("cpu family") + ", model" + ProcessorField("model\t") +
         "\ninstruction sets" + ProcessorField("flags") + "\n";
}

void CheckCompiled(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "machine.txt";
  const std::string found = TextOf(file);
  if (!found.empty()) CheckOwner(folder);
  if (found == CompilingMachine()) return;
  const std::string how =
      ": genie_env.make_vec(..., compile=True) in Python compiles it, or leave compile out";
  if (found.empty()) {
    throw std::invalid_argument("option 'compile' was given, but " + folder.string() +
                                " holds no compiled code" + how);
  }
  std::string first = found.substr(0, found.find("\ninstruction"));
  std::ranges::replace(first, '\n', ',');
  throw std::invalid_argument("option 'compile' was given, but the code in " + folder.string() +
                              " was compiled on another machine (" + Quoted(first) + ")" + how);
}

}  // namespace genie_env
