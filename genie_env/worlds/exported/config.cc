#include "genie_env/worlds/exported/config.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"
#include "genie_env/io/json_check.h"
#include "genie_env/io/json_fields.h"
#include "genie_env/worlds/action_config.h"

namespace genie_env {
namespace {

constexpr size_t kMostTensors = 256;  // of each list
constexpr int64_t kMostNumbers = int64_t{1} << 31;
constexpr double kUnboundedValue = std::numeric_limits<double>::infinity();

constexpr std::pair<const char*, StoredType> kTypes[] = {
    {"bool", StoredType::kBool},         {"uint8", StoredType::kUInt8},
    {"int64", StoredType::kInt64},       {"float16", StoredType::kFloat16},
    {"bfloat16", StoredType::kBFloat16}, {"float32", StoredType::kFloat32},
    {"float64", StoredType::kFloat64}};

int64_t Numel(const std::vector<int64_t>& shape) {
  int64_t numel = 1;
  for (const int64_t side : shape) numel *= side;
  return numel;
}

std::vector<int64_t> ParseShape(const JsonFields& tensor) {
  const char* const name = "shape";
  std::vector<int64_t> shape = tensor.Integers(name, 8, 1, kMostNumbers);
  int64_t numel = 1;
  for (const int64_t side : shape) {
    if (side > kMostNumbers / numel) {
      tensor.Fail(name, "at most " + std::to_string(kMostNumbers) + " numbers");
    }
    numel *= side;
  }
  return shape;
}

StoredType ParseType(const JsonFields& tensor) {
  std::string names;
  for (const auto& [text, type] : kTypes) {
    if (tensor.Is("dtype", text)) return type;
    names += (names.empty() ? "" : ", ") + std::string(text);
  }
  tensor.Fail("dtype", "one of " + names);
}

// A name that nothing else in its list has.
std::string ParseName(const JsonFields& tensor, std::set<std::string>& taken) {
  const char* const name = "name";
  std::string text = tensor.Text(name);
  if (!taken.insert(text).second) tensor.Fail(name, "another name than those before it");
  return text;
}

std::vector<ExportedTensor> ParseTensors(const JsonFields& fields, const char* name) {
  std::vector<ExportedTensor> tensors;
  std::set<std::string> taken;
  for (const JsonFields& each : fields.Objects(name, kMostTensors)) {
    tensors.push_back(
        {.name = ParseName(each, taken), .type = ParseType(each), .shape = ParseShape(each)});
  }
  return tensors;
}

std::vector<ExportedNoise> ParseNoise(const JsonFields& fields) {
  std::vector<ExportedNoise> noise;
  std::set<std::string> taken;
  for (const JsonFields& each : fields.Objects("noise", kMostTensors)) {
    noise.push_back({.name = ParseName(each, taken),
                     .normal = each.Choice("distribution", "normal", "uniform"),
                     .shape = ParseShape(each)});
  }
  return noise;
}

double ParseBound(const JsonFields& tensor, const char* name, double unbounded) {
  return tensor.Has(name) ? tensor.Number(name) : unbounded;
}

std::vector<TensorSpec> ParseObservations(const JsonFields& fields) {
  std::vector<TensorSpec> observations;
  std::set<std::string> taken{"pixels"};  // what is rendered
  for (const JsonFields& each : fields.Objects("observations", kMostTensors)) {
    TensorSpec spec{.name = ParseName(each, taken), .shape = ParseShape(each)};
    switch (ParseType(each)) {
      case StoredType::kUInt8:
        spec.dtype = DType::kUInt8;
        break;
      case StoredType::kInt64:
        spec.dtype = DType::kInt64;
        break;
      case StoredType::kFloat32:
        spec.dtype = DType::kFloat32;
        break;
      default:
        each.Fail("dtype", "uint8, int64 or float32");
    }
    const bool bytes = spec.dtype == DType::kUInt8;
    spec.low = ParseBound(each, "low", bytes ? 0 : -kUnboundedValue);
    spec.high = ParseBound(each, "high", bytes ? 255 : kUnboundedValue);
    if (!(spec.low <= spec.high)) each.Fail("high", "a number that is not below \"low\"");
    observations.push_back(std::move(spec));
  }
  return observations;
}

}  // namespace

int64_t ExportedTensor::numel() const { return Numel(shape); }
int64_t ExportedNoise::numel() const { return Numel(shape); }

bool ExportedConfig::begins_from_frames() const {
  return renders() && context.size() == 1 && context[0].name == "frame" &&
         context[0].type == StoredType::kUInt8 &&
         context[0].shape == std::vector<int64_t>{height, width, 3};
}

ExportedConfig ParseExportedConfig(const std::string& text, const std::string& file) {
  CheckJsonObject(text, file);
  const nlohmann::json config = nlohmann::json::parse(text);
  const JsonFields fields(config, file);
  fields.FormatVersion(3, 3, "world");
  ExportedConfig parsed{.device = fields.Choice("device", "cpu", "cuda") ? "cpu" : "cuda",
                        .actions = ParseActions(fields.Object("actions")),
                        .context = ParseTensors(fields, "context"),
                        .noise = ParseNoise(fields),
                        .state = ParseTensors(fields, "state"),
                        .observations = ParseObservations(fields),
                        .follows = fields.Boolean("follows"),
                        .termination = fields.Is("termination", "never") ? Termination::kNever
                                                                         : ParseTermination(fields),
                        .exact_rows = fields.Choice("row_bits", "exact", "tolerance"),
                        .frame_skip = fields.Integer("frame_skip", 1, INT32_MAX),
                        .max_episode_steps = fields.Integer("max_episode_steps", 1, INT32_MAX),
                        .temperature = fields.PositiveNumber("temperature")};
  if (fields.Has("frame")) {
    const JsonFields frame = fields.Object("frame");
    parsed.height = frame.Integer("height", 1, kMaxFrameSide);
    parsed.width = frame.Integer("width", 1, kMaxFrameSide);
  }
  if (parsed.state.empty()) fields.Fail("state", "at least one tensor");
  if (parsed.context.empty() && parsed.noise.empty()) {
    fields.Fail("noise", "at least one tensor where \"context\" has none");
  }
  if (parsed.observations.empty() && !parsed.renders()) {
    fields.Fail("observations", "at least one tensor where there is no \"frame\"");
  }
  if (parsed.follows && !parsed.begins_from_frames()) {
    fields.Fail("follows", "false where \"context\" is not one frame of the size in \"frame\"");
  }
  return parsed;
}

}  // namespace genie_env
