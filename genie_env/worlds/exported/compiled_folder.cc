#include "genie_env/worlds/exported/compiled_folder.h"

#include <torch/headeronly/version.h>

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

}  // namespace

std::filesystem::path CompiledFolder(const std::string& fingerprint) {
  const auto inside = [&](const std::filesystem::path& cache) {
    return cache / "compiled" / fingerprint;
  };
  if (const char* own = std::getenv("GENIE_ENV_CACHE")) return inside(own);
  if (const char* cache = std::getenv("XDG_CACHE_HOME")) {
    return inside(std::filesystem::path(cache) / "genie_env");
  }
  if (const char* home = std::getenv("HOME")) {
    return inside(std::filesystem::path(home) / ".cache" / "genie_env");
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
