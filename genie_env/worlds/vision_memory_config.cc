#include "genie_env/worlds/vision_memory_config.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"
#include "genie_env/io/json_text.h"

namespace genie_env {
namespace {

using nlohmann::json;

constexpr int64_t kFrame = 64;  // V's (nn/vision.h)
constexpr int64_t kMostActions = 1024;

/// One object of the file; every complaint names the file and the whole path of the field.
class Fields {
 public:
  Fields(const json& object, std::string file, std::string prefix = "")
      : object_(object), file_(std::move(file)), prefix_(std::move(prefix)) {}

  Fields Object(const char* name) const {
    const json& value = Value(name);
    if (!value.is_object()) Fail(name, "an object");
    return Fields(value, file_, prefix_ + name + ".");
  }

  int64_t Integer(const char* name, int64_t least, int64_t most) const {
    const json& value = Value(name);
    // A number beyond int64 is unsigned in the parser's eyes, or a float.
    const bool fits = value.is_number_integer() &&
                      (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX) &&
                      value.get<int64_t>() >= least && value.get<int64_t>() <= most;
    if (!fits) {
      Fail(name, "an integer from " + std::to_string(least) + " to " + std::to_string(most));
    }
    return value.get<int64_t>();
  }

  double Number(const char* name) const {
    const json& value = Value(name);
    if (!value.is_number() || !std::isfinite(value.get<float>())) Fail(name, "a finite number");
    return value.get<double>();
  }

  double PositiveNumber(const char* name) const {
    const double number = Number(name);
    if (!(number >= std::numeric_limits<float>::min())) {
      Fail(name, "a number above 0 that float32 can hold");
    }
    return number;
  }

  std::vector<std::string> Texts(const char* name, size_t most) const {
    const json& value = Value(name);
    bool texts = value.is_array() && !value.empty() && value.size() <= most;
    for (size_t i = 0; texts && i < value.size(); ++i) texts = value[i].is_string();
    if (!texts) Fail(name, "a list of 1 to " + std::to_string(most) + " texts");
    return value.get<std::vector<std::string>>();
  }

  std::vector<float> NumbersWithinOne(const char* name, size_t count) const {
    const json& value = Value(name);
    bool numbers = value.is_array() && value.size() == count;
    for (size_t i = 0; numbers && i < count; ++i) {
      numbers = value[i].is_number() && std::abs(value[i].get<double>()) <= 1;
    }
    if (!numbers) Fail(name, "a list of " + std::to_string(count) + " numbers from -1 to 1");
    return value.get<std::vector<float>>();
  }

  /// Whether the field is `yes`; it may only be that or `no`.
  bool Choice(const char* name, const char* yes, const char* no) const {
    const json& value = Value(name);
    if (value != yes && value != no) {
      Fail(name, "\"" + std::string(yes) + "\" or \"" + no + "\"");
    }
    return value == yes;
  }

 private:
  const json& Value(const char* name) const {
    const auto found = object_.find(name);
    if (found == object_.end()) throw FormatError(file_ + " has no \"" + prefix_ + name + "\"");
    return *found;
  }

  [[noreturn]] void Fail(const char* name, const std::string& expected) const {
    throw FormatError(file_ + ": \"" + prefix_ + name + "\" is " + Shortened(Value(name).dump()) +
                      ", expected " + expected);
  }

  const json& object_;
  std::string file_, prefix_;
};

}  // namespace

VisionMemoryConfig ParseVisionMemoryConfig(const std::string& text, const std::string& file) {
  CheckJsonObject(text, file);
  const json config = json::parse(text);
  const Fields fields(config, file);
  const Fields sizes = fields.Object("sizes");
  const Fields actions = fields.Object("actions");
  const Fields frame = fields.Object("frame");
  frame.Integer("height", kFrame, kFrame);
  frame.Integer("width", kFrame, kFrame);
  VisionMemoryConfig parsed{
      .latents = sizes.Integer("latents", 1, kMostLatents),
      .hidden = sizes.Integer("hidden", 1, kMostHidden),
      .components = sizes.Integer("components", 1, kMostComponents),
      .action_meanings = actions.Texts("meanings", kMostActions),
      .action_inputs = {},
      .frame_skip = fields.Integer("frame_skip", 1, INT32_MAX),
      .max_episode_steps = fields.Integer("max_episode_steps", 1, INT32_MAX),
      .reward_per_step = static_cast<float>(fields.Number("reward_per_step")),
      .temperature = fields.PositiveNumber("temperature"),
      .samples_termination = fields.Choice("termination", "sampled", "thresholded")};
  parsed.action_inputs = actions.NumbersWithinOne("inputs", parsed.action_meanings.size());
  return parsed;
}

}  // namespace genie_env
