#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace genie_env {

// Numbers, rows and shapes as text, for errors.

/// "0.25", "1e-60", "nan": six digits at most.
std::string NumberText(double number);

/// "row 3", "rows 3 and 7", "rows 3, 7 and 12 more"; `rows` is not empty.
std::string NameRows(std::span<const int64_t> rows);

/// "512.0 GiB", "4.3 KiB", "12 bytes".
std::string BytesText(double bytes);

/// "[8, 64]". The length -1, which stands for any, is written "any".
std::string ShapeText(std::span<const int64_t> shape);

/// A Python tuple: "(8, 64)", "(8,)", "()".
std::string TupleText(std::span<const int64_t> shape);

/// Whether `shape` is `expected`, where -1 stands for any length.
bool ShapeMatches(std::span<const int64_t> shape, std::span<const int64_t> expected);

}  // namespace genie_env
