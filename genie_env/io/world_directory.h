#pragma once

#include <filesystem>
#include <string>

namespace genie_env {

/// The files of a frozen world:
///
///     config.json          format_version, family, name, sizes, action meanings, provenance
///     model.safetensors    the weights
///     starts.safetensors   the stored initial contexts
///     README.md            the model card
struct WorldDirectory {
  std::filesystem::path path;
  std::string config;       ///< the text of config.json; a JSON object with a known format_version
  std::string family;       ///< config["family"]
  std::string name;         ///< config["name"]
  std::string fingerprint;  ///< SHA-256 over config.json, model.safetensors and starts.safetensors:
                            ///< what `sha256sum` prints for the three, in this order, hashed again

  std::filesystem::path weights_file() const { return path / "model.safetensors"; }
  std::filesystem::path starts_file() const { return path / "starts.safetensors"; }
};

/// Reads config.json and hashes the files. Throws FormatError naming the file and the field.
WorldDirectory OpenWorldDirectory(const std::filesystem::path& path);

}  // namespace genie_env
