#include "genie_env/worlds/world_directory.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "genie_env/core/error.h"
#include "genie_env/io/file.h"
#include "genie_env/io/json_check.h"
#include "genie_env/io/json_fields.h"
#include "genie_env/io/safetensors.h"
#include "genie_env/io/sha256.h"
#include "genie_env/io/zip_archive.h"

namespace genie_env {
namespace {

using nlohmann::json;

constexpr int64_t kOldestVersion = 1, kNewestVersion = 3;
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

/// The meta.json of every recording that the networks learned from, as freezing kept them: a list,
/// or one for each network.
std::vector<json> Recordings(const json& config) {
  const json::json_pointer place("/training/data");
  std::vector<json> found;
  if (!config.contains(place)) return found;
  const json& data = config.at(place);
  const auto add = [&](const json& list) {
    if (list.is_array()) std::ranges::copy_if(list, std::back_inserter(found), &json::is_object);
  };
  if (data.is_object()) std::ranges::for_each(data, add);
  add(data);
  return found;
}

std::string GameOf(const json& config) {
  const auto text = [](const json& from, const char* name) {
    return from.contains(name) && from[name].is_string() ? from[name].get<std::string>() : "";
  };
  std::string game = text(config, "real_game");
  for (const json& meta : Recordings(config)) {
    if (game.empty()) game = text(meta, "game");
  }
  return game;
}

std::optional<double> FramesPerSecond(const json& config, const std::string& file) {
  const char* const name = "frames_per_second";
  if (config.contains(name)) return JsonFields(config, file).PositiveNumber(name);
  // Worlds that were frozen before their config said it.
  for (const json& meta : Recordings(config)) {
    const bool known = meta.contains(name) && meta[name].is_number();
    if (known && meta[name].get<double>() > 0) return meta[name].get<double>();
  }
  return std::nullopt;
}

/// Which of the two files that may hold the weights is there.
const char* WeightsName(const std::filesystem::path& path) {
  std::error_code error;  // a file that cannot be looked at is not opened either
  const bool weights = std::filesystem::exists(path / WorldDirectory::kWeights, error);
  const bool exported = std::filesystem::exists(path / WorldDirectory::kExported, error);
  if (weights && exported) {
    throw FormatError(path.string() + " has both " + WorldDirectory::kWeights + " and " +
                      WorldDirectory::kExported + "; a world has one of them");
  }
  return exported ? WorldDirectory::kExported : WorldDirectory::kWeights;
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
  const char* const weights_name = WeightsName(path);
  WorldDirectory world{.path = path,
                       .format_version = version,
                       .config = std::move(text),
                       .family = TextField(config, "family", file.string()),
                       .name = TextField(config, "name", file.string()),
                       .fingerprint = {},
                       .game = GameOf(config),
                       .frames_per_second = FramesPerSecond(config, file.string()),
                       .weights_name = weights_name,
                       .weights = MappedFile(path / weights_name),
                       .starts = MappedFile(path / WorldDirectory::kStarts)};
  // Files that their headers do not fit are refused before many GB are hashed.
  if (weights_name == WorldDirectory::kExported) {
    const ZipArchive exported(world.weights.bytes(), world.weights_file().string(), between_pieces);
  } else {
    const SafetensorsFile weights(world.weights.bytes(), world.weights_file().string());
  }
  const SafetensorsFile starts(world.starts.bytes(), world.starts_file().string());
  world.fingerprint = FingerprintOf(world, between_pieces);
  return world;
}

}  // namespace genie_env
