#include "genie_env/core/options.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "genie_env/core/text.h"

namespace genie_env {
namespace {

std::string NamesOf(std::span<const OptionSpec> specs) {
  std::string names;
  for (const OptionSpec& spec : specs) names += (names.empty() ? "" : ", ") + spec.name;
  return names;
}

std::string Expected(const OptionSpec& spec) {
  switch (spec.type) {
    case OptionType::kBoolean:
      return "true or false";
    case OptionType::kInteger:
      return "an integer from " + NumberText(spec.low) + " to " + NumberText(spec.high);
    case OptionType::kNumber:
      return "a number from " + NumberText(spec.low) + " to " + NumberText(spec.high);
    case OptionType::kChoice:
      break;
  }
  std::string choices;
  for (const std::string& choice : spec.choices) {
    choices += (choices.empty() ? "\"" : " or \"") + choice + "\"";
  }
  return choices;
}

// The value in the type of the spec; empty where it is none of its values.
std::optional<OptionValue> Fitting(const OptionSpec& spec, const OptionValue& value) {
  const auto within = [&](double number) { return number >= spec.low && number <= spec.high; };
  switch (spec.type) {
    case OptionType::kBoolean:
      if (std::holds_alternative<bool>(value)) return value;
      break;
    case OptionType::kInteger:
      if (const auto* integer = std::get_if<int64_t>(&value)) {
        if (within(static_cast<double>(*integer))) return value;
      }
      break;
    case OptionType::kNumber: {
      const auto* integer = std::get_if<int64_t>(&value);
      const auto* number = std::get_if<double>(&value);
      if (integer == nullptr && number == nullptr) break;
      const double found = integer != nullptr ? static_cast<double>(*integer) : *number;
      if (within(found)) return found;
      break;
    }
    case OptionType::kChoice:
      if (const auto* text = std::get_if<std::string>(&value)) {
        if (std::ranges::find(spec.choices, *text) != spec.choices.end()) return value;
      }
      break;
  }
  return std::nullopt;
}

[[noreturn]] void ThrowUnknown(const std::string& name, std::span<const OptionSpec> specs,
                               const std::string& owner) {
  const std::string known = specs.empty() ? " none: leave it out" : ": " + NamesOf(specs);
  throw std::invalid_argument(owner + " has no option '" + name + "'; it has" + known);
}

[[noreturn]] void ThrowUnfit(const OptionSpec& spec, const OptionValue& value,
                             const std::string& owner) {
  const std::string quote = std::holds_alternative<std::string>(value) ? "\"" : "";
  throw std::invalid_argument("option '" + spec.name + "' of " + owner + " is " + quote +
                              ValueText(value) + quote + ", expected " + Expected(spec));
}

}  // namespace

OptionValues CheckOptions(const OptionValues& given, std::span<const OptionSpec> specs,
                          const std::string& owner) {
  OptionValues checked;
  for (const auto& [name, value] : given) {
    const auto spec = std::ranges::find(specs, name, &OptionSpec::name);
    if (spec == specs.end()) ThrowUnknown(name, specs, owner);
    std::optional<OptionValue> fitting = Fitting(*spec, value);
    if (!fitting) ThrowUnfit(*spec, value, owner);
    checked.emplace(name, *std::move(fitting));
  }
  return checked;
}

std::string ValueText(const OptionValue& value) {
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean ? "true" : "false";
  if (const auto* integer = std::get_if<int64_t>(&value)) return std::to_string(*integer);
  if (const auto* number = std::get_if<double>(&value)) {
    const std::string text = NumberText(*number);
    const bool integral = text.find_first_not_of("-0123456789") == std::string::npos;
    return integral ? text + ".0" : text;  // a number, as told from an integer
  }
  return std::get<std::string>(value);
}

}  // namespace genie_env
