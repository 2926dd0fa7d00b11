#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "genie_env/io/file.h"

namespace genie_env {

/// The files of a frozen world:
///
///     config.json          format_version, family, name, sizes, action meanings, provenance
///     model.safetensors    the weights; or model.pt2, exported graphs and their weights
///     starts.safetensors   the stored initial contexts
///     README.md            the model card
///
/// Once opened it holds what was hashed: a file that is replaced in the meantime changes neither.
struct WorldDirectory {
  static constexpr const char* kConfig = "config.json";
  static constexpr const char* kWeights = "model.safetensors";
  static constexpr const char* kExported = "model.pt2";
  static constexpr const char* kStarts = "starts.safetensors";

  std::filesystem::path path;
  int64_t format_version = 0;  ///< 1 to 3; a family's config says what differs
  std::string config;       ///< the text of config.json; a JSON object with a known format_version
  std::string family;       ///< config["family"]
  std::string name;         ///< config["name"]
  std::string fingerprint;  ///< SHA-256 over config.json, model.safetensors (or model.pt2) and
                            ///< starts.safetensors: what `sha256sum` prints for the three, in this
                            ///< order, hashed again
  std::string game;  ///< config["real_game"], or that of the first recording that it learned from
  std::optional<double> frames_per_second;  ///< config["frames_per_second"], or the recordings'
  const char* weights_name = kWeights;      ///< kWeights or kExported
  MappedFile weights;                       ///< the file of that name
  MappedFile starts;                        ///< starts.safetensors

  std::filesystem::path config_file() const { return path / kConfig; }
  std::filesystem::path weights_file() const { return path / weights_name; }
  std::filesystem::path starts_file() const { return path / kStarts; }
};

/// Reads config.json, maps the other two and checks that their headers fit their sizes (all of
/// model.pt2, as ZipArchive does), then hashes them all. Throws FormatError naming the file and the
/// field. Hashing many GB takes long: `between_pieces` is called some ten times a second meanwhile,
/// and may throw.
WorldDirectory OpenWorldDirectory(const std::filesystem::path& path,
                                  const std::function<void()>& between_pieces = nullptr);

}  // namespace genie_env
