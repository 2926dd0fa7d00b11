#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace genie_env {

/// A value of an option.
using OptionValue = std::variant<bool, int64_t, double, std::string>;

/// Values by the names of their options.
using OptionValues = std::map<std::string, OptionValue>;

enum class OptionType { kBoolean, kInteger, kNumber, kChoice };

/// What an option may be. Immutable.
struct OptionSpec {
  std::string name;
  OptionType type = OptionType::kBoolean;
  double low = 0;                         ///< smallest value, of kInteger and kNumber
  double high = 0;                        ///< largest value, of kInteger and kNumber
  std::vector<std::string> choices = {};  ///< of kChoice
  std::string description = {};           ///< one line
};

/// An option of a loaded world.
struct Option {
  OptionSpec spec;
  OptionValue default_value;  ///< what the world's directory says
  OptionValue value;          ///< what is in force
};

/// The given options, each in the type of its spec: an integer becomes a number where one is
/// expected. Throws std::invalid_argument on an unknown name, a value of another type, and a value
/// that is out of range; `owner` is what the error calls whose options they are.
OptionValues CheckOptions(const OptionValues& given, std::span<const OptionSpec> specs,
                          const std::string& owner);

/// The value as an error or a table shows it: true, 4, 0.5 or random.
std::string ValueText(const OptionValue& value);

}  // namespace genie_env
