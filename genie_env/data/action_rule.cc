#include "genie_env/data/action_rule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace genie_env {
namespace {

std::string NumberText(float number) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.7g", static_cast<double>(number));
  return text.data();
}

std::string RangeText(int64_t least, int64_t most) {
  const std::string from = std::to_string(least);
  return most == std::numeric_limits<int64_t>::max() ? from + " or more"
                                                     : from + " to " + std::to_string(most);
}

}  // namespace

std::string ActionRule::Complaint(std::span<const int64_t> actions) const {
  const auto found = std::ranges::find_if(
      actions, [&](int64_t action) { return action < least || action > most; });
  if (found == actions.end()) return {};
  return "action " + std::to_string(found - actions.begin()) + " is " + std::to_string(*found) +
         ", expected " + RangeText(least, most);
}

std::string ActionRule::Complaint(std::span<const float> actions, size_t width) const {
  for (size_t i = 0; i < actions.size(); ++i) {
    const size_t at = i % width;
    std::string expected;
    if (!std::isfinite(actions[i])) {
      expected = "a finite number";
    } else if (!low.empty()) {
      const float slack = kActionRounding * std::max(std::abs(low[at]), std::abs(high[at]));
      if (actions[i] < low[at] - slack || actions[i] > high[at] + slack) {
        expected = NumberText(low[at]) + " to " + NumberText(high[at]);
      }
    }
    if (expected.empty()) continue;
    return "action " + std::to_string(i / width) + " has " + NumberText(actions[i]) +
           " as its number " + std::to_string(at) + ", expected " + expected;
  }
  return {};
}

}  // namespace genie_env
