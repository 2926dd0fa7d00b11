#pragma once

#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace genie_env {

/// A directory in memory that lives as long as the process.
inline const std::filesystem::path& Scratch() {
  static const std::filesystem::path directory = [] {
    std::string name = "/dev/shm/genie_env_fuzz_XXXXXX";
    if (mkdtemp(name.data()) == nullptr) abort();
    return std::filesystem::path(name);
  }();
  return directory;
}

inline void WriteBytes(const std::filesystem::path& file, const uint8_t* data, size_t size) {
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
}

}  // namespace genie_env
