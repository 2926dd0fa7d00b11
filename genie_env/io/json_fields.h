#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "genie_env/core/error.h"
#include "genie_env/io/json_check.h"

namespace genie_env {

/// One object of a JSON file. Every error names the file and the whole path of the field.
class JsonFields {
 public:
  JsonFields(const nlohmann::json& object, std::string file, std::string prefix = "")
      : object_(object), file_(std::move(file)), prefix_(std::move(prefix)) {}

  JsonFields Object(const char* name) const {
    const nlohmann::json& value = Value(name);
    if (!value.is_object()) Fail(name, "an object");
    return JsonFields(value, file_, prefix_ + name + ".");
  }

  /// A list of at most `most` objects.
  std::vector<JsonFields> Objects(const char* name, size_t most) const {
    const nlohmann::json& value = Value(name);
    bool objects = value.is_array() && value.size() <= most;
    for (size_t i = 0; objects && i < value.size(); ++i) objects = value[i].is_object();
    if (!objects) Fail(name, "a list of at most " + std::to_string(most) + " objects");
    std::vector<JsonFields> fields;
    for (size_t i = 0; i < value.size(); ++i) {
      fields.emplace_back(value[i], file_, prefix_ + name + "[" + std::to_string(i) + "].");
    }
    return fields;
  }

  /// A text that is not empty.
  std::string Text(const char* name) const {
    const nlohmann::json& value = Value(name);
    if (!value.is_string() || value.get_ref<const std::string&>().empty()) {
      Fail(name, "a text that is not empty");
    }
    return value.get<std::string>();
  }

  bool Boolean(const char* name) const {
    const nlohmann::json& value = Value(name);
    if (!value.is_boolean()) Fail(name, "true or false");
    return value.get<bool>();
  }

  /// "format_version" of `what`, for instance "world". It may be from `oldest` to `newest`.
  int64_t FormatVersion(int64_t oldest, int64_t newest, const std::string& what) const {
    constexpr const char* kName = "format_version";
    const std::string known = std::to_string(oldest) +
                              (oldest == newest ? std::string() : " to " + std::to_string(newest));
    if (!object_.contains(kName)) {
      throw FormatError(file_ + " has no \"format_version\", expected " + known);
    }
    const nlohmann::json& version = Value(kName);
    if (version.is_number_integer() && version >= oldest && version <= newest) {
      return version.get<int64_t>();
    }
    throw FormatError(file_ + ": \"format_version\" is " + Shortened(version.dump()) +
                      ", but this genie_env reads " + known + ": install one that matches the " +
                      what);
  }

  int64_t Integer(const char* name, int64_t least, int64_t most) const {
    const nlohmann::json& value = Value(name);
    if (!IsInteger(value, least, most)) {
      Fail(name, "an integer from " + std::to_string(least) + " to " + std::to_string(most));
    }
    return value.get<int64_t>();
  }

  double Number(const char* name) const {
    const nlohmann::json& value = Value(name);
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
    const nlohmann::json& value = Value(name);
    bool texts = value.is_array() && !value.empty() && value.size() <= most;
    for (size_t i = 0; texts && i < value.size(); ++i) texts = value[i].is_string();
    if (!texts) Fail(name, "a list of 1 to " + std::to_string(most) + " texts");
    return value.get<std::vector<std::string>>();
  }

  std::vector<float> NumbersWithinOne(const char* name, size_t count) const {
    const nlohmann::json& value = Value(name);
    bool numbers = value.is_array() && value.size() == count;
    for (size_t i = 0; numbers && i < count; ++i) {
      numbers = value[i].is_number() && std::abs(value[i].get<double>()) <= 1;
    }
    if (!numbers) Fail(name, "a list of " + std::to_string(count) + " numbers from -1 to 1");
    return value.get<std::vector<float>>();
  }

  /// `count` finite numbers.
  std::vector<float> Numbers(const char* name, size_t count) const {
    const nlohmann::json& value = Value(name);
    bool numbers = value.is_array() && value.size() == count;
    for (size_t i = 0; numbers && i < count; ++i) {
      numbers = value[i].is_number() && std::isfinite(value[i].get<float>());
    }
    if (!numbers) Fail(name, "a list of " + std::to_string(count) + " finite numbers");
    return value.get<std::vector<float>>();
  }

  /// At most `count` integers, each from `least` to `most`.
  std::vector<int64_t> Integers(const char* name, size_t count, int64_t least, int64_t most) const {
    const nlohmann::json& value = Value(name);
    bool integers = value.is_array() && value.size() <= count;
    for (size_t i = 0; integers && i < value.size(); ++i) {
      integers = IsInteger(value[i], least, most);
    }
    if (!integers) {
      Fail(name, "a list of at most " + std::to_string(count) + " integers from " +
                     std::to_string(least) + " to " + std::to_string(most));
    }
    return value.get<std::vector<int64_t>>();
  }

  bool Has(const char* name) const { return object_.contains(name); }

  /// Whether the field is this text.
  bool Is(const char* name, const char* text) const { return Value(name) == text; }

  /// Throws FormatError: the field is not what was expected.
  [[noreturn]] void Fail(const char* name, const std::string& expected) const {
    throw FormatError(file_ + ": \"" + prefix_ + name + "\" is " + Shortened(Value(name).dump()) +
                      ", expected " + expected);
  }

  /// Whether the field is `yes`; it may only be that or `no`.
  bool Choice(const char* name, const char* yes, const char* no) const {
    const nlohmann::json& value = Value(name);
    if (value != yes && value != no) {
      Fail(name, "\"" + std::string(yes) + "\" or \"" + no + "\"");
    }
    return value == yes;
  }

 private:
  const nlohmann::json& Value(const char* name) const {
    const auto found = object_.find(name);
    if (found == object_.end()) throw FormatError(file_ + " has no \"" + prefix_ + name + "\"");
    return *found;
  }

  // The parser makes a number beyond int64 unsigned or a float.
  static bool IsInteger(const nlohmann::json& value, int64_t least, int64_t most) {
    return value.is_number_integer() &&
           (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX) &&
           value.get<int64_t>() >= least && value.get<int64_t>() <= most;
  }

  const nlohmann::json& object_;
  std::string file_, prefix_;
};

}  // namespace genie_env
