#include "genie_env/core/text.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <sstream>

namespace genie_env {
namespace {

std::string Joined(std::span<const int64_t> shape, const std::string& minus_one) {
  std::string text;
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + (shape[i] == -1 ? minus_one : std::to_string(shape[i]));
  }
  return text;
}

}  // namespace

std::string NameRows(std::span<const int64_t> rows) {
  std::string text = (rows.size() == 1 ? "row " : "rows ") + std::to_string(rows[0]);
  if (rows.size() == 2) text += " and " + std::to_string(rows[1]);
  if (rows.size() > 2) {
    text += ", " + std::to_string(rows[1]) + " and " + std::to_string(rows.size() - 2) + " more";
  }
  return text;
}

std::string NumberText(double number) {
  std::ostringstream text;
  text << number;
  return text.str();
}

std::string BytesText(double bytes) {
  constexpr std::array kUnits{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < kUnits.size(); ++unit) bytes /= 1024;
  std::array<char, 64> number{};
  std::snprintf(number.data(), number.size(), unit == 0 ? "%.0f" : "%.1f", bytes);
  return number.data() + (" " + std::string(kUnits[unit]));
}

std::string ShapeText(std::span<const int64_t> shape) { return "[" + Joined(shape, "any") + "]"; }

std::string TupleText(std::span<const int64_t> shape) {
  return "(" + Joined(shape, "-1") + (shape.size() == 1 ? ",)" : ")");
}

bool ShapeMatches(std::span<const int64_t> shape, std::span<const int64_t> expected) {
  return std::ranges::equal(shape, expected, [](int64_t length, int64_t wanted) {
    return wanted == -1 || length == wanted;
  });
}

}  // namespace genie_env
