#include "genie_env/data/episode_schema.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"
#include "genie_env/io/json_check.h"
#include "genie_env/io/json_fields.h"

namespace genie_env {
namespace {

using Json = nlohmann::json;

/// One field of meta.json. Every error names the file and the whole path of the field.
class MetaField {
 public:
  MetaField(const Json& value, std::string file, std::string path)
      : value_(value), file_(std::move(file)), path_(std::move(path)) {}

  const Json& value() const { return value_; }

  [[noreturn]] void Fail(const std::string& expected) const {
    throw FormatError(file_ + ": \"" + path_ + "\" is " + Shortened(value_.dump()) + ", expected " +
                      expected);
  }

  MetaField At(const char* name) const {
    if (!value_.is_object()) Fail("an object");
    const auto found = value_.find(name);
    const std::string path = path_.empty() ? name : path_ + "." + name;
    if (found == value_.end()) throw FormatError(file_ + " has no \"" + path + "\"");
    return {*found, file_, path};
  }

  /// Refuses an object with other names than these.
  void CheckNames(const std::vector<std::string>& known) const {
    if (!value_.is_object()) Fail("an object");
    std::string listed;
    for (const std::string& name : known) listed += (listed.empty() ? "" : ", ") + name;
    for (const auto& item : value_.items()) {
      if (std::ranges::find(known, item.key()) != known.end()) continue;
      throw FormatError(file_ + ": \"" + path_ + "\" has the unknown name " + Quoted(item.key()) +
                        ", expected " + listed);
    }
  }

  int64_t Integer(int64_t least, int64_t most) const {
    // The parser makes a number beyond int64 unsigned or a float.
    const bool fits = value_.is_number_integer() &&
                      (!value_.is_number_unsigned() || value_.get<uint64_t>() <= INT64_MAX) &&
                      value_.get<int64_t>() >= least && value_.get<int64_t>() <= most;
    if (!fits) Fail("an integer from " + std::to_string(least) + " to " + std::to_string(most));
    return value_.get<int64_t>();
  }

  std::vector<int64_t> Shape(int64_t largest_side) const {
    constexpr size_t kMostDimensions = 8;
    const std::string expected =
        "a list of at most 8 numbers from 1 to " + std::to_string(largest_side);
    if (!value_.is_array() || value_.size() > kMostDimensions) Fail(expected);
    std::vector<int64_t> shape;
    for (const Json& side : value_) {
      if (!side.is_number_unsigned() || side < 1 || side > largest_side) Fail(expected);
      shape.push_back(side.get<int64_t>());
    }
    return shape;
  }

  std::vector<float> Numbers(size_t count) const {
    bool numbers = value_.is_array() && value_.size() == count;
    for (size_t i = 0; numbers && i < count; ++i) {
      numbers = value_[i].is_number() && std::isfinite(value_[i].get<float>());
    }
    if (!numbers) Fail("a list of " + std::to_string(count) + " finite numbers");
    return value_.get<std::vector<float>>();
  }

 private:
  const Json& value_;
  std::string file_, path_;
};

void ReadColumn(const MetaField& field, EpisodeColumn& column) {
  field.CheckNames({"dtype", "shape"});
  const MetaField dtype = field.At("dtype");
  if (column.name == "actions" && dtype.value() == kNpyFloat32.name) column.type = kNpyFloat32;
  if (dtype.value() != column.type.name) {
    dtype.Fail(column.name == "actions" ? "\"int64\" or \"float32\""
                                        : "\"" + std::string(column.type.name) + "\"");
  }
  const MetaField shape = field.At("shape");
  column.row_shape = shape.Shape(kMaxRecordedSide);
  const size_t dimensions = column.row_shape.size();
  if (column.name == "frames" || column.name == "final_frames") {
    if (dimensions != 3 || column.row_shape[2] != 3) shape.Fail("[height, width, 3]");
  } else if (column.name == "actions" && column.type.name == kNpyFloat32.name) {
    // Their product is checked number by number: eight sides could overflow it.
    int64_t numbers = dimensions == 0 ? 0 : 1;
    for (const int64_t side : column.row_shape) numbers = std::min(numbers * side, kMaxActions + 1);
    if (numbers < 1 || numbers > kMaxActions) {
      shape.Fail("the shape of 1 to " + std::to_string(kMaxActions) + " numbers");
    }
  } else if (dimensions != 0) {
    shape.Fail("[]");
  }
}

void ReadDiscrete(const MetaField& actions, const EpisodeSchema& schema, ActionRule& rule) {
  if (schema.box()) actions.Fail("those of a box, as \"columns.actions\" is float32");
  const MetaField meanings = actions.At("meanings");
  if (!meanings.value().is_array() || meanings.value().empty() ||
      meanings.value().size() > static_cast<size_t>(kMaxActions)) {
    meanings.Fail("a list of 1 to " + std::to_string(kMaxActions) + " texts");
  }
  const auto count = static_cast<int64_t>(meanings.value().size());
  rule.least = actions.At("start").Integer(INT64_MIN, INT64_MAX - count);
  rule.most = rule.least + count - 1;
}

void ReadBox(const MetaField& actions, const EpisodeSchema& schema, ActionRule& rule) {
  if (!schema.box()) actions.Fail("numbered ones, as \"columns.actions\" is int64");
  const std::vector<int64_t>& declared = schema.columns[kActions].row_shape;
  const MetaField shape = actions.At("shape");
  if (shape.Shape(kMaxRecordedSide) != declared) shape.Fail("that of \"columns.actions\"");
  const auto count = static_cast<size_t>(ElementsOf(declared));
  rule.low = actions.At("low").Numbers(count);
  rule.high = actions.At("high").Numbers(count);
  for (size_t i = 0; i < count; ++i) {
    if (rule.low[i] > rule.high[i]) actions.At("high").Fail("numbers that are not below \"low\"");
  }
}

/// What "actions" says; it may be left out, or null where nobody knows what was done.
ActionRule ReadActions(const MetaField& meta, const EpisodeSchema& schema) {
  ActionRule rule;
  if (!meta.value().contains("actions")) return rule;
  const MetaField actions = meta.At("actions");
  if (actions.value().is_null()) return rule;
  const MetaField type = actions.At("type");
  if (type.value() == "discrete") {
    ReadDiscrete(actions, schema, rule);
  } else if (type.value() == "box") {
    ReadBox(actions, schema, rule);
  } else {
    type.Fail("\"discrete\" or \"box\"");
  }
  return rule;
}

}  // namespace

EpisodeSchema EpisodeSchema::Parse(const std::string& text, const std::string& name) {
  CheckJsonObject(text, name);
  const Json parsed = Json::parse(text);
  EpisodeSchema schema;
  schema.format_version = JsonFields(parsed, name).FormatVersion(1, 2, "recording");
  schema.columns = {{{"frames", kNpyUInt8, {}},
                     {"actions", kNpyInt64, {}},
                     {"rewards", kNpyFloat32, {}},
                     {"terminations", kNpyBool, {}},
                     {"truncations", kNpyBool, {}}}};
  if (schema.format_version == 1) {
    schema.actions.least = 0;
    return schema;
  }
  const MetaField meta(parsed, name, "");
  const MetaField columns = meta.At("columns");
  std::vector<std::string> names;
  for (const EpisodeColumn& column : schema.columns) names.push_back(column.name);
  columns.CheckNames(names);
  for (EpisodeColumn& column : schema.columns) ReadColumn(columns.At(column.name.c_str()), column);
  if (parsed.contains("episode_columns")) {
    const MetaField an_episode = meta.At("episode_columns");
    an_episode.CheckNames({"final_frames"});
    if (an_episode.value().contains("final_frames")) {
      EpisodeColumn final_frames = schema.final_frames();
      const MetaField field = an_episode.At("final_frames");
      ReadColumn(field, final_frames);
      if (final_frames != schema.final_frames()) field.Fail("the shape of \"columns.frames\"");
      schema.has_final_frames = true;
    }
  }
  schema.actions = ReadActions(meta, schema);
  return schema;
}

EpisodeColumn EpisodeSchema::final_frames() const {
  return {"final_frames", kNpyUInt8, columns[kFrames].row_shape};
}

void EpisodeSchema::SetFrameSize(int64_t height, int64_t width) {
  columns[kFrames].row_shape = {height, width, 3};
}

int64_t ElementsOf(const std::vector<int64_t>& row_shape) {
  return std::accumulate(row_shape.begin(), row_shape.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace genie_env
