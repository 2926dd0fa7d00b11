#include "genie_env/io/npy.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/core/text.h"
#include "genie_env/io/json_check.h"

namespace genie_env {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxNpyHeaderBytes = 65536;

/// Reads the dictionary, which may have its keys in any order.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, std::string file) : text_(text), file_(std::move(file)) {}

  std::string type;
  std::vector<int64_t> shape;

  void Parse() {
    std::vector<std::string> keys;
    for (const char byte : text_) {
      if ((byte < ' ' || byte > '~') && byte != '\n') Fail("the header is not text");
    }
    Expect('{');
    while (!Accept('}')) {
      keys.push_back(String());
      Expect(':');
      if (keys.back() == "descr") {
        type = String();
      } else if (keys.back() == "fortran_order") {
        if (Word() != "False") Fail("fortran_order is not False; store the array row-major");
      } else if (keys.back() == "shape") {
        shape = Tuple();
      } else {
        Fail("the header has the unknown key " + Quoted(keys.back()));
      }
      if (!Accept(',')) {
        Expect('}');
        break;
      }
    }
    SkipSpaces();
    if (at_ != text_.size()) Fail("the header goes on after its dictionary");
    std::sort(keys.begin(), keys.end());
    if (keys != std::vector<std::string>{"descr", "fortran_order", "shape"}) {
      Fail("the header does not have the keys descr, fortran_order and shape, once each");
    }
  }

 private:
  [[noreturn]] void Fail(const std::string& what) const { throw FormatError(file_ + ": " + what); }

  void SkipSpaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }

  bool Accept(char wanted) {
    SkipSpaces();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  void Expect(char wanted) {
    if (!Accept(wanted)) {
      Fail("the header is not a dictionary: " + Quoted(std::string(1, wanted)) +
           " was expected at its byte " + std::to_string(at_));
    }
  }

  std::string String() {
    const char quote = Accept('"') ? '"' : '\'';
    if (quote == '\'') Expect('\'');
    const size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos) Fail("a string of the header does not end");
    const size_t begin = std::exchange(at_, end + 1);
    return std::string(text_.substr(begin, end - begin));
  }

  std::string_view Word() {
    SkipSpaces();
    const size_t begin = at_;
    while (at_ < text_.size() && std::isalnum(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  std::vector<int64_t> Tuple() {
    std::vector<int64_t> numbers;
    Expect('(');
    while (!Accept(')')) {
      const std::string_view word = Word();
      int64_t number = 0;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
      if (word.empty() || error != std::errc() || end != word.data() + word.size()) {
        Fail("the shape in the header holds something that is not a count");
      }
      numbers.push_back(number);
      if (!Accept(',')) {
        Expect(')');
        break;
      }
    }
    return numbers;
  }

  std::string_view text_;
  std::string file_;
  size_t at_ = 0;
};

size_t LittleEndian(std::string_view bytes) {
  size_t number = 0;
  for (size_t i = bytes.size(); i-- > 0;) number = number << 8 | static_cast<uint8_t>(bytes[i]);
  return number;
}

/// The beginning of a file, long enough for any header. A writer may be overwriting the counts at
/// this very moment, so it is read until it is the same twice.
std::string StableCopy(std::span<const std::byte> file) {
  const auto* begin = reinterpret_cast<const char*>(file.data());
  const size_t size = std::min(file.size(), kMaxNpyHeaderBytes);
  std::string copy(begin, size);
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::atomic_signal_fence(std::memory_order_seq_cst);  // The compiler must read the file again.
    if (std::string_view(begin, size) == copy) break;
    copy.assign(begin, size);
  }
  return copy;
}

/// The header, not yet padded to its `bytes`.
std::string HeaderText(const NpyType& type, int64_t rows, const std::vector<int64_t>& row_shape,
                       size_t bytes) {
  std::vector<int64_t> shape{rows};
  shape.insert(shape.end(), row_shape.begin(), row_shape.end());
  std::string header(kMagic);
  header += '\x01';
  header += '\x00';
  header += static_cast<char>((bytes - 10) & 0xFF);
  header += static_cast<char>((bytes - 10) >> 8);
  return header + "{'descr': '" + std::string(type.code) +
         "', 'fortran_order': False, 'shape': " + TupleText(shape) + ", }";
}

/// Bytes of one row; empty where they would not fit into memory.
std::optional<size_t> SizeOfRow(const NpyType& type, std::span<const int64_t> row_shape) {
  size_t size = type.size;
  for (const int64_t length : row_shape) {
    if (__builtin_mul_overflow(size, static_cast<size_t>(length), &size)) return std::nullopt;
  }
  return size;
}

}  // namespace

NpyArray::NpyArray(const std::filesystem::path& file, const NpyType& type, size_t dimensions)
    : NpyArray(file, ReadHeader(file), type, dimensions) {}

// A writer adds elements before it counts them in the header. So the header is read before the file
// is mapped: the mapping then holds all elements that the header counts.
NpyArray::NpyArray(const std::filesystem::path& file, const Header& header, const NpyType& type,
                   size_t dimensions)
    : path_(file), file_(file), shape_(header.shape), header_bytes_(header.bytes) {
  const std::string name = file.string();
  if (header.type != type.code) {
    throw FormatError(name + " has elements of type " + Quoted(header.type) + ", expected \"" +
                      std::string(type.code) + "\" (" + std::string(type.name) + ")");
  }
  if (shape_.size() != dimensions) {
    throw FormatError(name + " has the shape " + TupleText(shape_) + ", expected " +
                      std::to_string(dimensions) + " dimension" + (dimensions == 1 ? "" : "s"));
  }
  if (header_bytes_ % type.size != 0) {
    throw FormatError(name + ": a header of " + std::to_string(header_bytes_) +
                      " bytes leaves the elements unaligned; save the array again with NumPy");
  }
  const std::optional<size_t> row = SizeOfRow(type, std::span(shape_).subspan(1));
  if (!row) {
    throw FormatError(name + " has the shape " + TupleText(shape_) +
                      ", whose rows have too many bytes");
  }
  const size_t present = file_.bytes().size() - std::min(file_.bytes().size(), header_bytes_);
  rows_ = *row == 0 ? shape_[0] : std::min(shape_[0], static_cast<int64_t>(present / *row));
  data_ = file_.bytes().subspan(header_bytes_, static_cast<size_t>(rows_) * *row);
}

NpyArray::Header NpyArray::ReadHeader(const std::filesystem::path& file) {
  const MappedFile mapped(file);
  const std::string text = StableCopy(mapped.bytes());
  const std::string name = file.string();
  if (!text.starts_with(kMagic) || text.size() < 12) {
    throw FormatError(name + " is not a .npy file: it does not begin as one");
  }
  const auto version = static_cast<uint8_t>(text[6]);
  if (version < 1 || version > 3 || text[7] != 0) {
    throw FormatError(name + " has version " + std::to_string(version) + "." +
                      std::to_string(static_cast<uint8_t>(text[7])) +
                      " of the .npy format; 1.0 to 3.0 can be read");
  }
  Header header;
  const size_t prefix = version == 1 ? 10 : 12;
  header.bytes = prefix + LittleEndian(std::string_view(text).substr(8, prefix - 8));
  if (header.bytes > text.size()) {
    throw FormatError(name + ": a header of " + std::to_string(header.bytes) +
                      " bytes is promised, but the file has " +
                      std::to_string(mapped.bytes().size()) + " bytes (and a header at most " +
                      std::to_string(kMaxNpyHeaderBytes) + ")");
  }
  HeaderParser parser(std::string_view(text).substr(prefix, header.bytes - prefix), name);
  parser.Parse();
  header.type = parser.type;
  header.shape = parser.shape;
  return header;
}

NpyAppender::NpyAppender(OutputFile file, const NpyType& type, std::vector<int64_t> row_shape,
                         size_t header_bytes)
    : file_(std::move(file)),
      type_(type),
      row_shape_(std::move(row_shape)),
      row_bytes_(static_cast<int64_t>(SizeOfRow(type, row_shape_).value())),
      header_bytes_(header_bytes) {
  constexpr int64_t kMaxRows = std::numeric_limits<int64_t>::max();
  if (HeaderText(type_, kMaxRows, row_shape_, header_bytes_).size() >= header_bytes_) {
    throw FormatError(file_.path().string() + ": a header of " + std::to_string(header_bytes_) +
                      " bytes has no room to count more rows; save the array again with NumPy");
  }
}

void NpyAppender::Write(int64_t first, std::span<const std::byte> rows) {
  file_.Write(Offset(first), rows);
}

void NpyAppender::SetRows(int64_t rows) {
  std::string header = HeaderText(type_, rows, row_shape_, header_bytes_);
  header.resize(header_bytes_ - 1, ' ');
  header += '\n';
  file_.Write(0, std::as_bytes(std::span(header)));
}

void NpyAppender::Truncate(int64_t rows) {
  // This order keeps the header from counting more rows than there are.
  SetRows(rows);
  file_.Truncate(Offset(rows));
}

int64_t NpyAppender::Offset(int64_t row) const {
  return static_cast<int64_t>(header_bytes_) + row * row_bytes_;
}

}  // namespace genie_env
