#include "genie_env/data/episode_schema.h"

#include <nlohmann/json.hpp>

#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"
#include "genie_env/io/json_check.h"
#include "genie_env/io/json_fields.h"

namespace genie_env {
namespace {

constexpr int64_t kFirstVersion = 1, kVersion = 2;
constexpr size_t kMostDimensions = 8;

/// The shape of a column. Throws FormatError unless its dtype is this one.
std::vector<int64_t> Shape(const JsonFields& column, const NpyType& type) {
  const std::string name(type.name);
  if (!column.Is("dtype", name.c_str())) column.Fail("dtype", "\"" + name + "\"");
  return column.Integers("shape", kMostDimensions, 1, kMaxRecordedSide);
}

void CheckShape(const JsonFields& column, const NpyType& type, const std::vector<int64_t>& shape) {
  if (Shape(column, type) == shape) return;
  std::string text;
  for (const int64_t side : shape) text += (text.empty() ? "" : ", ") + std::to_string(side);
  column.Fail("shape", "[" + text + "]");
}

void ParseColumns(const JsonFields& fields, EpisodeSchema& schema) {
  const JsonFields columns = fields.Object("columns");
  const JsonFields frames = columns.Object("frames"), actions = columns.Object("actions");
  const std::vector<int64_t> frame = Shape(frames, kNpyUInt8);
  if (frame.size() != 3 || frame[2] != 3) frames.Fail("shape", "[height, width, 3]");
  schema.height = frame[0];
  schema.width = frame[1];
  if (actions.Choice("dtype", "float32", "int64")) {
    schema.box = Shape(actions, kNpyFloat32);
    if (schema.action_size() > kMaxActions) {
      actions.Fail("shape", "at most " + std::to_string(kMaxActions) + " numbers");
    }
  } else {
    CheckShape(actions, kNpyInt64, {});
  }
  CheckShape(columns.Object("rewards"), kNpyFloat32, {});
  CheckShape(columns.Object("terminations"), kNpyBool, {});
  CheckShape(columns.Object("truncations"), kNpyBool, {});
  schema.final_frames = columns.Has("final_frames");
  if (schema.final_frames) CheckShape(columns.Object("final_frames"), kNpyUInt8, frame);
  columns.CheckKnown(
      {"frames", "actions", "rewards", "terminations", "truncations", "final_frames"});
}

}  // namespace

bool EpisodeColumn::operator==(const EpisodeColumn& other) const {
  return std::string_view(file) == other.file && type.code == other.type.code &&
         row_shape == other.row_shape && of_episodes == other.of_episodes;
}

EpisodeSchema EpisodeSchema::Parse(const std::string& text, const std::string& name) {
  CheckJsonObject(text, name);
  const nlohmann::json meta = nlohmann::json::parse(text);
  const JsonFields fields(meta, name);
  EpisodeSchema schema;
  schema.format_version = fields.FormatVersion(kFirstVersion, kVersion, "recording");
  if (schema.format_version > kFirstVersion) ParseColumns(fields, schema);
  return schema;
}

int64_t EpisodeSchema::action_size() const {
  int64_t size = 1;
  for (const int64_t side : box.value_or(std::vector<int64_t>{})) {
    size *= side;
    if (size > kMaxActions) break;
  }
  return size;
}

std::vector<EpisodeColumn> EpisodeSchema::columns() const {
  const std::vector<int64_t> frame{height, width, 3};
  std::vector<EpisodeColumn> columns{
      {"frames.npy", kNpyUInt8, frame},
      {"actions.npy", box ? kNpyFloat32 : kNpyInt64, box.value_or(std::vector<int64_t>{})},
      {"rewards.npy", kNpyFloat32, {}},
      {"terminations.npy", kNpyBool, {}},
      {"truncations.npy", kNpyBool, {}}};
  if (final_frames) columns.push_back({"final_frames.npy", kNpyUInt8, frame, true});
  return columns;
}

}  // namespace genie_env
