#include "genie_env/io/zip_archive.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "genie_env/core/error.h"
#include "genie_env/io/crc32.h"
#include "genie_env/io/json_check.h"

namespace genie_env {
namespace {

// Sections 4.3.7 to 4.3.16 of PKWARE's APPNOTE.
constexpr uint32_t kLocalSignature = 0x04034B50;
constexpr uint32_t kDescriptorSignature = 0x08074B50;
constexpr uint32_t kCentralSignature = 0x02014B50;
constexpr uint32_t kEndSignature = 0x06054B50;
constexpr uint32_t kEnd64Signature = 0x06064B50;
constexpr uint32_t kLocatorSignature = 0x07064B50;
constexpr uint64_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22;
constexpr uint64_t kEnd64Bytes = 56, kLocatorBytes = 20;
constexpr uint64_t kSeeZip64 = 0xFFFFFFFF, kSeeZip64Short = 0xFFFF;

constexpr uint16_t kEncrypted = 0x0001, kHasDescriptor = 0x0008, kUtf8 = 0x0800;
constexpr uint16_t kZip64Tag = 0x0001, kPaddingTag = 0x4246;  // "FB": torch aligns to 64 bytes

constexpr uint64_t kMaxMembers = 65536;
constexpr uint64_t kMaxNameBytes = 512;
constexpr uint64_t kMaxPadding = 128;
constexpr size_t kCrcPiece = size_t{64} << 20;

struct ZipMember {
  std::string name;
  uint16_t flags = 0;
  uint32_t crc = 0;
  uint64_t size = 0;
  uint64_t offset = 0;
  std::span<const std::byte> bytes;
};

/// The fields of a record, one after another.
class RecordFields {
 public:
  explicit RecordFields(std::span<const std::byte> bytes) : bytes_(bytes) {}

  uint16_t Short() { return static_cast<uint16_t>(Number(2)); }
  uint32_t Word() { return static_cast<uint32_t>(Number(4)); }
  uint64_t Long() { return Number(8); }
  void Skip(size_t count) { bytes_ = bytes_.subspan(count); }
  size_t left() const { return bytes_.size(); }

 private:
  uint64_t Number(size_t size) {
    uint64_t number = 0;
    for (size_t i = size; i-- > 0;) number = number << 8 | std::to_integer<uint64_t>(bytes_[i]);
    Skip(size);
    return number;
  }

  std::span<const std::byte> bytes_;
};

class DirectoryReader {
 public:
  DirectoryReader(std::span<const std::byte> bytes, const std::string& file)
      : bytes_(bytes), file_(file) {}

  std::vector<ZipMember> Read() {
    ReadEnd();
    std::vector<ZipMember> members = ReadCentralDirectory();
    uint64_t end = 0;
    for (ZipMember& member : members) end = CheckMember(member, end);
    if (end != directory_) {
      Fail("a gap of " + std::to_string(directory_ - end) + " bytes lies before the directory");
    }
    return members;
  }

 private:
  [[noreturn]] void Fail(const std::string& what) const { throw FormatError(file_ + ": " + what); }
  [[noreturn]] void Fail(const ZipMember& member, const std::string& what) const {
    Fail("member " + Quoted(member.name) + " " + what);
  }

  /// The `size` bytes at `offset`, or an empty span where the file does not hold them.
  std::span<const std::byte> Bytes(uint64_t offset, uint64_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) return {};
    return bytes_.subspan(offset, size);
  }

  uint32_t SignatureAt(uint64_t offset) const {
    const auto found = Bytes(offset, 4);
    return found.empty() ? 0 : RecordFields(found).Word();
  }

  void ReadEnd() {
    if (bytes_.size() < kEndBytes || SignatureAt(bytes_.size() - kEndBytes) != kEndSignature) {
      Fail(
          "the last bytes are not the end of a zip archive; the file is cut short, followed by "
          "other bytes, or of another format");
    }
    directory_end_ = bytes_.size() - kEndBytes;
    RecordFields end(bytes_.subspan(directory_end_));
    end.Skip(4);
    const uint16_t disk = end.Short(), directory_disk = end.Short(), count_here = end.Short();
    const uint16_t count = end.Short();
    const uint32_t size = end.Word(), offset = end.Word();
    const uint16_t comment = end.Short();
    if (disk != 0 || directory_disk != 0 || count_here != count || comment != 0) {
      Fail("the archive is one of several parts, or has a comment; neither is allowed");
    }
    count_ = count, directory_size_ = size, directory_ = offset;
    if (directory_end_ >= kLocatorBytes &&
        SignatureAt(directory_end_ - kLocatorBytes) == kLocatorSignature) {
      ReadEnd64();
    }
    if (count_ > kMaxMembers) {
      Fail(std::to_string(count_) + " members are promised; at most " +
           std::to_string(kMaxMembers) + " are allowed");
    }
    if (directory_ > directory_end_ || directory_size_ != directory_end_ - directory_) {
      Fail("a directory of " + std::to_string(directory_size_) + " bytes at byte " +
           std::to_string(directory_) + " is promised, but it would have to end at byte " +
           std::to_string(directory_end_));
    }
  }

  /// The same for files above 4 GiB, or with more than 65,534 members. Numbers that fit into the
  /// plain record stand there too.
  void ReadEnd64() {
    const uint64_t locator = directory_end_ - kLocatorBytes;
    if (locator < kEnd64Bytes || SignatureAt(locator - kEnd64Bytes) != kEnd64Signature) {
      Fail("its zip64 record does not lie right before the record that locates it");
    }
    directory_end_ = locator - kEnd64Bytes;
    RecordFields place(bytes_.subspan(locator, kLocatorBytes));
    place.Skip(4);
    const uint32_t end_disk = place.Word();
    const uint64_t end_offset = place.Long();
    const uint32_t disks = place.Word();
    RecordFields end(bytes_.subspan(directory_end_, kEnd64Bytes));
    end.Skip(4);
    const uint64_t record_size = end.Long();
    end.Skip(4);  // versions
    const uint32_t disk = end.Word(), directory_disk = end.Word();
    const uint64_t count_here = end.Long(), count = end.Long(), size = end.Long();
    const uint64_t offset = end.Long();
    const auto agree = [](uint64_t plain, uint64_t in_zip64, uint64_t see_zip64) {
      return plain == in_zip64 || plain == see_zip64;
    };
    if (end_disk != 0 || end_offset != directory_end_ || disks > 1 || disk != 0 ||
        directory_disk != 0 || record_size != kEnd64Bytes - 12 || count_here != count ||
        !agree(count_, count, kSeeZip64Short) || !agree(directory_size_, size, kSeeZip64) ||
        !agree(directory_, offset, kSeeZip64)) {
      Fail("its zip64 record contradicts itself or the plain one");
    }
    count_ = count, directory_size_ = size, directory_ = offset;
  }

  std::vector<ZipMember> ReadCentralDirectory() const {
    std::vector<ZipMember> members;
    std::set<std::string> names;
    uint64_t at = directory_;
    for (uint64_t i = 0; i < count_; ++i) {
      if (directory_end_ - at < kCentralBytes || SignatureAt(at) != kCentralSignature) {
        Fail("its directory promises " + std::to_string(count_) + " members, but holds " +
             std::to_string(i));
      }
      at += ReadCentralHeader(at, members.emplace_back());
      std::string folded = members.back().name;  // torch's reader does not tell a from A
      std::transform(folded.begin(), folded.end(), folded.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
      if (!names.insert(std::move(folded)).second) Fail(members.back(), "is there twice");
    }
    if (at != directory_end_) {
      Fail("its directory has " + std::to_string(directory_end_ - at) +
           " bytes after its last member");
    }
    return members;
  }

  /// Returns the header's size.
  uint64_t ReadCentralHeader(uint64_t at, ZipMember& member) const {
    RecordFields header(bytes_.subspan(at, kCentralBytes));
    header.Skip(8);  // signature, versions
    member.flags = header.Short();
    const uint16_t method = header.Short();
    header.Skip(4);  // time, date
    member.crc = header.Word();
    uint64_t stored = header.Word();
    member.size = header.Word();
    const uint64_t name = header.Short(), extra = header.Short(), comment = header.Short();
    const uint16_t disk = header.Short();
    header.Skip(6);  // attributes
    member.offset = header.Word();
    if (name + extra + comment > directory_end_ - at - kCentralBytes) {
      Fail("the header of a member ends after the directory");
    }
    member.name = CheckedName(bytes_.subspan(at + kCentralBytes, name));
    if (comment != 0 || disk != 0) Fail(member, "has a comment or lies in another file");
    if ((member.flags & kEncrypted) != 0) Fail(member, "is encrypted");
    if ((member.flags & ~(kHasDescriptor | kUtf8)) != 0) {
      Fail(member, "has the flags " + std::to_string(member.flags) + ", which are not allowed");
    }
    if (method != 0) {
      Fail(member, "is compressed (method " + std::to_string(method) +
                       "); only stored members are allowed");
    }
    ReadCentralZip64(bytes_.subspan(at + kCentralBytes + name, extra), member, stored);
    if (stored != member.size) {
      Fail(member, "is stored in " + std::to_string(stored) + " bytes, but has " +
                       std::to_string(member.size));
    }
    return kCentralBytes + name + extra + comment;
  }

  void ReadCentralZip64(std::span<const std::byte> extra, ZipMember& member,
                        uint64_t& stored) const {
    std::vector<uint64_t*> fields;
    for (uint64_t* field : {&member.size, &stored, &member.offset}) {
      if (*field == kSeeZip64) fields.push_back(field);
    }
    if (fields.empty() && extra.empty()) return;
    RecordFields given(extra);
    if (extra.size() != 4 + 8 * fields.size() || given.Short() != kZip64Tag ||
        given.Short() != 8 * fields.size()) {
      Fail(member, "has other extra fields than its sizes need");
    }
    for (uint64_t* field : fields) *field = given.Long();
  }

  std::string CheckedName(std::span<const std::byte> bytes) const {
    std::string name(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::string member = "the member name " + Quoted(name) + " ";
    if (!std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c <= '~'; })) {
      Fail("a member's name is not of printable ASCII characters");
    }
    if (name.empty() || name.size() > kMaxNameBytes) {
      Fail(member + "has " + std::to_string(name.size()) + " bytes; 1 to " +
           std::to_string(kMaxNameBytes) + " are allowed");
    }
    if (name.front() == '/') Fail(member + "is absolute");
    if (name.find_first_of("\\:") != std::string::npos) Fail(member + "has a \\ or : in it");
    for (size_t begin = 0; begin <= name.size();) {
      const size_t end = std::min(name.find('/', begin), name.size());
      const std::string part = name.substr(begin, end - begin);
      if (part.empty()) Fail(member + "is that of a folder, or has an empty part");
      if (part == "." || part == "..") {
        Fail(std::string(member).append("has the part ").append(Quoted(part)));
      }
      begin = end + 1;
    }
    return name;
  }

  /// Sets the member's bytes, which begin after the end of the member before it, and returns the
  /// end.
  uint64_t CheckMember(ZipMember& member, uint64_t end_before) const {
    if (member.offset < end_before) {
      Fail(member, "overlaps the one before it, or stands after it in the directory");
    }
    if (member.offset > end_before) {
      Fail(member,
           "begins after a gap of " + std::to_string(member.offset - end_before) + " bytes");
    }
    const uint64_t room = directory_ - member.offset;
    if (room < kLocalBytes || SignatureAt(member.offset) != kLocalSignature) {
      Fail(member, "has no header at byte " + std::to_string(member.offset));
    }
    RecordFields header(bytes_.subspan(member.offset, kLocalBytes));
    header.Skip(6);  // signature, version
    const uint16_t flags = header.Short(), method = header.Short();
    header.Skip(4);  // time, date
    const uint32_t crc = header.Word();
    const uint64_t stored = header.Word(), size = header.Word();
    const uint64_t name = header.Short(), extra = header.Short();
    const uint64_t begin = kLocalBytes + name + extra;
    if (begin > room || member.size > room - begin) {
      Fail(member, "has " + std::to_string(member.size) + " bytes, but only " +
                       std::to_string(begin > room ? 0 : room - begin) +
                       " lie before the directory");
    }
    const auto name_bytes = bytes_.subspan(member.offset + kLocalBytes, name);
    const std::string_view own(reinterpret_cast<const char*>(name_bytes.data()), name);
    const bool zip64 =
        CheckLocalExtra(bytes_.subspan(member.offset + kLocalBytes + name, extra), member);
    const bool later = (member.flags & kHasDescriptor) != 0;
    const auto agrees = [&](uint64_t given) {
      return given == (later ? 0 : member.size) || (zip64 && given == kSeeZip64);
    };
    if (flags != member.flags || method != 0 || own != member.name || !agrees(stored) ||
        !agrees(size) || crc != (later ? 0 : member.crc)) {
      Fail(member, "has a header that contradicts the directory");
    }
    member.bytes = bytes_.subspan(member.offset + begin, member.size);
    const uint64_t end = member.offset + begin + member.size;
    return later ? CheckDescriptor(member, end, zip64) : end;
  }

  /// Whether there are zip64 sizes among the extra fields. They are those of the directory again:
  /// no reader of ours or of torch's uses them.
  bool CheckLocalExtra(std::span<const std::byte> extra, const ZipMember& member) const {
    RecordFields fields(extra);
    bool zip64 = false, padded = false;
    while (fields.left() >= 4) {
      const uint16_t tag = fields.Short(), size = fields.Short();
      bool& seen = tag == kZip64Tag ? zip64 : padded;
      const bool fits = tag == kZip64Tag ? size == 8 || size == 16 || size == 24
                                         : tag == kPaddingTag && size <= kMaxPadding;
      if (!fits || seen || size > fields.left()) break;
      seen = true;
      fields.Skip(size);
      if (fields.left() == 0) return zip64;
    }
    if (!extra.empty()) Fail(member, "has extra fields other than zip64 sizes and padding");
    return false;
  }

  uint64_t CheckDescriptor(const ZipMember& member, uint64_t at, bool zip64) const {
    const uint64_t size = zip64 ? 24 : 16;
    if (size > directory_ - at || SignatureAt(at) != kDescriptorSignature) {
      Fail(member, "has no descriptor after its bytes");
    }
    RecordFields fields(bytes_.subspan(at, size));
    fields.Skip(4);
    const uint32_t crc = fields.Word();
    const uint64_t stored = zip64 ? fields.Long() : fields.Word();
    const uint64_t original = zip64 ? fields.Long() : fields.Word();
    if (crc != member.crc || stored != member.size || original != member.size) {
      Fail(member, "has a descriptor that contradicts the directory");
    }
    return at + size;
  }

  std::span<const std::byte> bytes_;
  const std::string& file_;
  uint64_t count_ = 0, directory_ = 0, directory_size_ = 0, directory_end_ = 0;
};

}  // namespace

ZipArchive::ZipArchive(std::span<const std::byte> bytes, const std::string& name,
                       const std::function<void()>& between_pieces) {
  size_t since = 0;
  for (const ZipMember& member : DirectoryReader(bytes, name).Read()) {
    uint32_t crc = 0;
    for (size_t begin = 0; begin < member.bytes.size(); begin += kCrcPiece) {
      const size_t size = std::min(kCrcPiece, member.bytes.size() - begin);
      crc = Crc32(member.bytes.subspan(begin, size), crc);
      since += size;
      if (between_pieces && since >= kCrcPiece) since = 0, between_pieces();
    }
    if (crc != member.crc) {
      throw FormatError(name + ": member " + Quoted(member.name) +
                        " is damaged: its CRC-32 is not the one that the archive gives");
    }
    members_.emplace(member.name, member.bytes);
  }
}

}  // namespace genie_env
