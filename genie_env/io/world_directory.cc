#include "genie_env/io/world_directory.h"

#include <nlohmann/json.hpp>
#include <system_error>

#include "genie_env/core/error.h"
#include "genie_env/io/file.h"
#include "genie_env/io/json_text.h"
#include "genie_env/io/sha256.h"

namespace genie_env {
namespace {

using nlohmann::json;

constexpr int64_t kFormatVersion = 1;
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

void CheckVersion(const json& config, const std::string& file) {
  const json& version = Field(config, "format_version", file);
  if (version != kFormatVersion) {
    throw FormatError(file + ": \"format_version\" is " + Shortened(version.dump()) +
                      ", but this genie_env reads " + std::to_string(kFormatVersion) +
                      ": install one that matches the world, or freeze the world again");
  }
}

}  // namespace

WorldDirectory OpenWorldDirectory(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    throw FormatError(path.string() +
                      " is not a world directory: " + (error ? error.message() : "it is a file"));
  }
  WorldDirectory world;
  world.path = path;
  const std::string file = (path / "config.json").string();
  world.config = ReadConfig(file);
  const json config = json::parse(world.config);
  CheckVersion(config, file);
  world.family = TextField(config, "family", file);
  world.name = TextField(config, "name", file);

  std::string sums;
  for (const std::filesystem::path& part :
       {path / "config.json", world.weights_file(), world.starts_file()}) {
    sums += Sha256(MappedFile(part).bytes()) + "  " + part.filename().string() + "\n";
  }
  world.fingerprint = Sha256(std::as_bytes(std::span(sums)));
  return world;
}

}  // namespace genie_env
