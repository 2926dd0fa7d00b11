#include "genie_env/io/safetensors.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/core/text.h"
#include "genie_env/io/file.h"
#include "genie_env/io/json_check.h"

namespace genie_env {
namespace {

using nlohmann::json;

constexpr const char* kMetadata = "__metadata__";
constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxSafetensorsHeaderBytes = uint64_t{16}
                                                << 20;  // of some hundred thousand tensors
constexpr size_t kMaxDimensions = 16;

struct TypeName {
  StoredType type;
  const char* name;
  size_t size;
};
// The order in which a file stores tensors: the widest first, so that all are aligned.
constexpr std::array<TypeName, 7> kTypeNames{{{StoredType::kInt64, "I64", 8},
                                              {StoredType::kFloat64, "F64", 8},
                                              {StoredType::kFloat32, "F32", 4},
                                              {StoredType::kBFloat16, "BF16", 2},
                                              {StoredType::kFloat16, "F16", 2},
                                              {StoredType::kUInt8, "U8", 1},
                                              {StoredType::kBool, "BOOL", 1}}};

const TypeName& Named(StoredType type) {
  return *std::find_if(kTypeNames.begin(), kTypeNames.end(),
                       [type](const TypeName& entry) { return entry.type == type; });
}

/// Bytes of a tensor; empty where they are too many to count.
std::optional<uint64_t> SizeOfTensor(StoredType type, const std::vector<int64_t>& shape) {
  uint64_t size = SizeOf(type);
  for (const int64_t length : shape) {
    if (length < 0 || __builtin_mul_overflow(size, static_cast<uint64_t>(length), &size)) {
      return std::nullopt;
    }
  }
  return size;
}

/// Reads one file's header. Every error names the file.
class HeaderReader {
 public:
  HeaderReader(std::span<const std::byte> bytes, std::string file)
      : bytes_(bytes), file_(std::move(file)) {}

  void Read(std::map<std::string, TensorView>& tensors,
            std::map<std::string, std::string>& metadata) {
    const std::string_view text = Text();
    if (!text.starts_with('{')) Fail("the header does not begin with {");
    CheckJsonObject(text, file_ + ": the header");
    data_ = bytes_.subspan(kLengthBytes + text.size());
    const json header = json::parse(text);
    for (const auto& [name, value] : header.items()) {
      if (name == kMetadata) {
        metadata = Metadata(value);
      } else {
        tensors.emplace(name, Tensor("tensor " + Quoted(name), value));
      }
    }
    CheckNothingIsLeftOver();
  }

 private:
  struct Extent {
    uint64_t begin;
    uint64_t end;
    std::string tensor;
  };

  [[noreturn]] void Fail(const std::string& what) const { throw FormatError(file_ + ": " + what); }

  std::string_view Text() const {
    if (bytes_.size() < kLengthBytes) {
      Fail("the file has " + std::to_string(bytes_.size()) +
           " bytes; a safetensors file begins with the 8 bytes of its header's length");
    }
    uint64_t length = 0;
    for (size_t i = kLengthBytes; i-- > 0;) {
      length = length << 8 | std::to_integer<uint64_t>(bytes_[i]);
    }
    if (length > kMaxSafetensorsHeaderBytes) {
      Fail("a header of " + std::to_string(length) + " bytes is promised; at most " +
           std::to_string(kMaxSafetensorsHeaderBytes) + " are allowed");
    }
    if (length > bytes_.size() - kLengthBytes) {
      Fail("the file is cut short: a header of " + std::to_string(length) +
           " bytes is promised, but only " + std::to_string(bytes_.size() - kLengthBytes) +
           " bytes follow");
    }
    return {reinterpret_cast<const char*>(bytes_.data()) + kLengthBytes,
            static_cast<size_t>(length)};
  }

  std::map<std::string, std::string> Metadata(const json& value) const {
    if (!value.is_object()) Fail("__metadata__ is not an object");
    std::map<std::string, std::string> metadata;
    for (const auto& [name, text] : value.items()) {
      if (!text.is_string()) Fail("__metadata__ " + Quoted(name) + " is not a text");
      metadata.emplace(name, text.get<std::string>());
    }
    return metadata;
  }

  TensorView Tensor(const std::string& tensor, const json& value) {
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") ||
        !value.contains("shape") || !value.contains("data_offsets")) {
      Fail(tensor + " does not have just the keys dtype, shape and data_offsets");
    }
    TensorView view;
    view.type = Type(tensor, value["dtype"]);
    for (const uint64_t length : Counts(tensor + ": shape", value["shape"], kMaxDimensions)) {
      view.shape.push_back(static_cast<int64_t>(length));
    }
    const std::vector<uint64_t> offsets =
        Counts(tensor + ": data_offsets", value["data_offsets"], 2);
    if (offsets.size() != 2 || offsets[0] > offsets[1]) {
      Fail(tensor + ": data_offsets is not a pair [begin, end]");
    }
    if (offsets[1] > data_.size()) {
      Fail(tensor + " ends at byte " + std::to_string(offsets[1]) + " of the data, but only " +
           std::to_string(data_.size()) + " bytes are there; the file is cut short");
    }
    const uint64_t size = offsets[1] - offsets[0];
    const std::optional<uint64_t> expected = SizeOfTensor(view.type, view.shape);
    if (size != expected) {
      Fail(tensor + " has " + std::to_string(size) + " bytes, but shape " +
           Shortened(ShapeText(view.shape)) + " of " + Named(view.type).name + " needs " +
           (expected ? std::to_string(*expected) : "more than can be counted"));
    }
    view.bytes = data_.subspan(offsets[0], size);
    extents_.push_back({offsets[0], offsets[1], tensor});
    return view;
  }

  StoredType Type(const std::string& tensor, const json& value) const {
    std::string known;
    for (const TypeName& entry : kTypeNames) {
      if (value == entry.name) return entry.type;
      known += (known.empty() ? "" : ", ") + std::string(entry.name);
    }
    Fail(tensor + ": dtype is " + Shortened(value.dump()) + ", expected one of " + known);
  }

  std::vector<uint64_t> Counts(const std::string& what, const json& value, size_t most) const {
    if (!value.is_array()) Fail(what + " is not an array");
    if (value.size() > most) {
      Fail(what + " has " + std::to_string(value.size()) + " numbers, at most " +
           std::to_string(most) + " are allowed");
    }
    std::vector<uint64_t> counts;
    for (const json& count : value) {
      if (!count.is_number_unsigned() ||
          count.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
        Fail(what + " holds " + Shortened(count.dump()) + ", which is not a count");
      }
      counts.push_back(count.get<uint64_t>());
    }
    return counts;
  }

  void CheckNothingIsLeftOver() {
    std::sort(extents_.begin(), extents_.end(), [](const Extent& a, const Extent& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    uint64_t end = 0;
    for (const Extent& extent : extents_) {
      if (extent.begin < end) Fail(extent.tensor + " overlaps another tensor");
      if (extent.begin > end) {
        Fail("a gap of " + std::to_string(extent.begin - end) + " bytes lies before " +
             extent.tensor);
      }
      end = extent.end;
    }
    if (end != data_.size()) {
      Fail(std::to_string(data_.size() - end) + " bytes after the last tensor belong to none");
    }
  }

  std::span<const std::byte> bytes_;
  std::string file_;
  std::span<const std::byte> data_;
  std::vector<Extent> extents_;
};

using NamedTensor = std::pair<const std::string, TensorView>;

/// The tensors in the order in which their bytes are stored. Throws std::invalid_argument.
std::vector<const NamedTensor*> InOrder(const std::map<std::string, TensorView>& tensors) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& entry : tensors) {
    const auto& [name, tensor] = entry;
    if (name == kMetadata) {
      throw std::invalid_argument("a tensor cannot have the name __metadata__; choose another");
    }
    const std::optional<uint64_t> expected = SizeOfTensor(tensor.type, tensor.shape);
    if (tensor.bytes.size() != expected) {
      throw std::invalid_argument(
          "tensor " + Quoted(name) + " has " + std::to_string(tensor.bytes.size()) +
          " bytes, which is not what shape " + Shortened(ShapeText(tensor.shape)) + " of " +
          Named(tensor.type).name + " needs");
    }
    order.push_back(&entry);
  }
  std::stable_sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    return &Named(a->second.type) < &Named(b->second.type);
  });
  return order;
}

/// Returns the bytes before the tensors' bytes, which it appends to `pieces` in the order of the
/// file.
std::string Header(const std::map<std::string, TensorView>& tensors,
                   const std::map<std::string, std::string>& metadata,
                   std::vector<std::span<const std::byte>>& pieces) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  size_t end = 0;
  for (const NamedTensor* entry : InOrder(tensors)) {
    const auto& [name, tensor] = *entry;
    const size_t begin = std::exchange(end, end + tensor.bytes.size());
    header[name] = {{"dtype", Named(tensor.type).name},
                    {"shape", tensor.shape},
                    {"data_offsets", {begin, end}}};
    pieces.push_back(tensor.bytes);
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception&) {
    throw std::invalid_argument("a tensor's name or the metadata is not UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string length;
  for (size_t i = 0; i < kLengthBytes; ++i) length += static_cast<char>(text.size() >> (8 * i));
  return length + text;
}

}  // namespace

size_t SizeOf(StoredType type) { return Named(type).size; }

struct SafetensorsFile::Impl {
  explicit Impl(const std::filesystem::path& path) : file(path) {
    HeaderReader(file->bytes(), path.string()).Read(tensors, metadata);
  }
  Impl(std::span<const std::byte> bytes, const std::string& name) {
    HeaderReader(bytes, name).Read(tensors, metadata);
  }

  std::optional<MappedFile> file;  // empty where the caller owns the bytes
  std::map<std::string, TensorView> tensors;
  std::map<std::string, std::string> metadata;
};

SafetensorsFile::SafetensorsFile(const std::filesystem::path& file)
    : impl_(std::make_unique<Impl>(file)) {}
SafetensorsFile::SafetensorsFile(std::span<const std::byte> bytes, const std::string& name)
    : impl_(std::make_unique<Impl>(bytes, name)) {}
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

const std::map<std::string, TensorView>& SafetensorsFile::tensors() const { return impl_->tensors; }
const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return impl_->metadata;
}

void WriteSafetensors(const std::filesystem::path& file,
                      const std::map<std::string, TensorView>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::vector<std::span<const std::byte>> pieces{{}};  // the header's place
  const std::string header = Header(tensors, metadata, pieces);
  pieces[0] = std::as_bytes(std::span(header));
  WriteFileAtomically(file, pieces);
}

std::string SafetensorsBytes(const std::map<std::string, TensorView>& tensors,
                             const std::map<std::string, std::string>& metadata) {
  std::vector<std::span<const std::byte>> pieces;
  std::string bytes = Header(tensors, metadata, pieces);
  for (const std::span<const std::byte> piece : pieces) {
    bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  return bytes;
}

}  // namespace genie_env
