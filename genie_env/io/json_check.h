#pragma once

#include <string>
#include <string_view>

namespace genie_env {

/// Throws FormatError, its text beginning with `name`, unless `text` is one JSON object (RFC 8259,
/// UTF-8) in which no object has a key twice and nothing is nested more than 32 deep.
/// nlohmann::json then parses it without an error.
void CheckJsonObject(std::string_view text, const std::string& name);

/// `text` for an error: at most 80 bytes, control characters replaced.
std::string Shortened(std::string_view text);

/// Shortened(text) in quotation marks.
std::string Quoted(std::string_view text);

}  // namespace genie_env
