#include "genie_env/io/json_check.h"

#include <cstddef>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "genie_env/core/error.h"

namespace genie_env {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 32;
constexpr size_t kMaxShown = 80;

// Walks over the text without building a document: it keeps only the keys of the objects that are
// open. A hostile text costs some dozen times its own length in memory, here and in the parser, so
// callers limit its length.
class Checker : public nlohmann::json_sax<json> {
 public:
  const std::string& complaint() const { return complaint_; }

  bool null() override { return Value(); }
  bool boolean(bool) override { return Value(); }
  bool number_integer(number_integer_t) override { return Value(); }
  bool number_unsigned(number_unsigned_t) override { return Value(); }
  bool number_float(number_float_t, const string_t&) override { return Value(); }
  bool string(string_t&) override { return Value(); }
  bool binary(binary_t&) override { return Value(); }
  bool start_object(size_t) override { return Open(); }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Value() && Open(); }
  bool end_array() override { return Close(); }

  bool key(string_t& name) override {
    if (keys_.back().insert(name).second) return true;
    return Complain("has the key " + Quoted(name) + " twice");
  }

  bool parse_error(size_t position, const std::string&, const json::exception&) override {
    return Complain("is not valid JSON at byte " + std::to_string(position));
  }

 private:
  bool Complain(std::string complaint) {
    complaint_ = std::move(complaint);
    return false;
  }

  // The outermost value must be an object.
  bool Value() { return !keys_.empty() || Complain("is not a JSON object"); }

  bool Open() {
    if (keys_.size() == kMaxDepth) {
      return Complain("is nested more than " + std::to_string(kMaxDepth) + " deep");
    }
    keys_.emplace_back();
    return true;
  }

  bool Close() {
    keys_.pop_back();
    return true;
  }

  std::vector<std::set<std::string>>
      keys_;  // the keys of the objects that are open, outermost first
  std::string complaint_;
};

bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

}  // namespace

void CheckJsonObject(std::string_view text, const std::string& name) {
  Checker checker;
  if (!json::sax_parse(text.begin(), text.end(), &checker)) {
    throw FormatError(name + " " + checker.complaint());
  }
}

std::string Shortened(std::string_view text) {
  std::string shown;
  for (size_t i = 0; i < text.size(); ++i) {
    // The cut is never within a character.
    if (i >= kMaxShown && !IsContinuation(text[i])) return shown + "...";
    const bool control = static_cast<unsigned char>(text[i]) < 0x20 || text[i] == 0x7F;
    shown += control ? '?' : text[i];
  }
  return shown;
}

std::string Quoted(std::string_view text) { return '"' + Shortened(text) + '"'; }

}  // namespace genie_env
