#include "genie_env/worlds/world_directory.h"

#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/io/file.h"
#include "genie_env/io/json_check.h"
#include "genie_env/io/json_fields.h"
#include "genie_env/io/safetensors.h"
#include "genie_env/io/sha256.h"

namespace genie_env {
namespace {

using nlohmann::json;

constexpr int64_t kOldestVersion = 1, kNewestVersion = 2;
constexpr size_t kMaxConfigBytes = size_t{16} << 20;

std::string ReadConfig(const std::filesystem::path& file) {
  const MappedFile mapped(file);
  if (mapped.bytes().size() > kMaxConfigBytes) {
    throw FormatError(file.string() + " has " + std::to_string(mapped.bytes().size()) +
                      " bytes; a configuration has at most " + std::to_string(kMaxConfigBytes));
  }
  std::string text(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
  CheckJsonObject(text, file.string());
  return text;
}

const json& Field(const json& config, const char* name, const std::string& file) {
  const auto found = config.find(name);
  if (found == config.end()) throw FormatError(file + " has no \"" + name + "\"");
  return *found;
}

std::string TextField(const json& config, const char* name, const std::string& file) {
  const json& field = Field(config, name, file);
  if (!field.is_string() || field.get_ref<const std::string&>().empty()) {
    throw FormatError(file + ": \"" + name + "\" is " + Shortened(field.dump()) +
                      ", expected a text that is not empty");
  }
  return field.get<std::string>();
}

std::string FingerprintOf(const WorldDirectory& world,
                          const std::function<void()>& between_pieces) {
  const auto line = [&](std::span<const std::byte> bytes, const std::filesystem::path& file) {
    return Sha256(bytes, between_pieces) + "  " + file.filename().string() + "\n";
  };
  const std::string sums = line(std::as_bytes(std::span(world.config)), world.config_file()) +
                           line(world.weights.bytes(), world.weights_file()) +
                           line(world.starts.bytes(), world.starts_file());
  return Sha256(std::as_bytes(std::span(sums)));
}

}  // namespace

WorldDirectory OpenWorldDirectory(const std::filesystem::path& path,
                                  const std::function<void()>& between_pieces) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    throw FormatError(path.string() +
                      " is not a world directory: " + (error ? error.message() : "it is a file"));
  }
  const std::filesystem::path file = path / WorldDirectory::kConfig;
  std::string text = ReadConfig(file);
  const json config = json::parse(text);
  // First: other versions may have other files.
  const int64_t version =
      JsonFields(config, file.string()).FormatVersion(kOldestVersion, kNewestVersion, "world");
  WorldDirectory world{.path = path,
                       .format_version = version,
                       .config = std::move(text),
                       .family = TextField(config, "family", file.string()),
                       .name = TextField(config, "name", file.string()),
                       .fingerprint = {},
                       .weights = MappedFile(path / WorldDirectory::kWeights),
                       .starts = MappedFile(path / WorldDirectory::kStarts)};
  // Files that their headers do not fit are refused before many GB are hashed.
  const SafetensorsFile weights(world.weights.bytes(), world.weights_file().string());
  const SafetensorsFile starts(world.starts.bytes(), world.starts_file().string());
  world.fingerprint = FingerprintOf(world, between_pieces);
  return world;
}

}  // namespace genie_env
