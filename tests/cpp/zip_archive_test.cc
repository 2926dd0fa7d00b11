#include "genie_env/io/zip_archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "genie_env/core/error.h"
#include "tests/cpp/files.h"
#include "tests/cpp/zip_bytes.h"

namespace genie_env {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::map<std::string, std::string> MembersOf(const std::string& bytes) {
  std::map<std::string, std::string> members;
  const ZipArchive archive(BytesOf(bytes), "x.pt2");
  for (const auto& [name, member] : archive.members()) {
    members[name] = std::string(reinterpret_cast<const char*>(member.data()), member.size());
  }
  return members;
}

std::string ErrorOf(const std::string& bytes) {
  const std::string error = TextOf<FormatError>([&] { ZipArchive(BytesOf(bytes), "x.pt2"); });
  EXPECT_THAT(error, StartsWith("x.pt2: "));
  return error;
}

std::string ErrorOf(const std::vector<ZipPart>& parts) { return ErrorOf(ZipBytes(parts)); }

/// The number's bytes, the lowest first.
std::string Little(uint64_t number, size_t size) {
  std::string bytes;
  for (size_t i = 0; i < size; ++i) bytes += static_cast<char>(number >> (8 * i));
  return bytes;
}

const ZipPart kFirst{.name = "root/first", .bytes = "1234567"};
const ZipPart kSecond{.name = "root/folder/second", .bytes = ""};

// ISO 3309's check value, and lengths on both sides of the slices.
TEST(Crc32, GivesThePublishedAnswers) {
  EXPECT_EQ(Crc32(BytesOf("")), 0U);
  EXPECT_EQ(Crc32(BytesOf("123456789")), 0xCBF43926U);
  EXPECT_EQ(Crc32(BytesOf("a")), 0xE8B7BE43U);
  EXPECT_EQ(Crc32(BytesOf("abcdefghijklmnopqrstuvwxyz")), 0x4C2750BDU);
  EXPECT_EQ(Crc32(BytesOf(std::string(32, '\0'))), 0x190A55ADU);
  EXPECT_EQ(Crc32(BytesOf("56789"), Crc32(BytesOf("1234"))), 0xCBF43926U);
}

TEST(ZipArchive, ReadsMembers) {
  const std::map<std::string, std::string> expected{{"root/first", "1234567"},
                                                    {"root/folder/second", ""}};
  EXPECT_EQ(MembersOf(ZipBytes({kFirst, kSecond})), expected);
  EXPECT_TRUE(MembersOf(ZipBytes({})).empty());
}

// Sizes after the bytes, and padding that aligns these.
TEST(ZipArchive, ReadsWhatTorchWrites) {
  ZipPart part = kFirst;
  part.flags = 0x808;
  part.extra = "FB" + Little(20, 2) + std::string(20, 'Z');
  EXPECT_EQ(MembersOf(ZipBytes({part, kSecond, {.name = "last", .bytes = "x"}})).size(), 3U);
}

TEST(ZipArchive, ReadsZip64) {
  // The end record of an archive whose directory lies beyond 4 GiB says so everywhere; here one
  // that does not need it.
  const std::string plain = ZipBytes({kFirst});
  const uint64_t directory = plain.find("PK\1\2"), end = plain.size() - 22;
  const auto with = [&](uint64_t count, uint64_t at) {
    return plain.substr(0, end) + "PK\6\6" + Little(44, 8) + Little(0, 4) + Little(0, 8) +
           Little(1, 8) + Little(count, 8) + Little(end - directory, 8) + Little(directory, 8) +
           "PK\6\7" + Little(0, 4) + Little(at, 8) + Little(1, 4) + plain.substr(end, 16) +
           Little(0xFFFFFFFF, 4) + Little(0, 2);
  };
  EXPECT_EQ(MembersOf(with(1, end)).size(), 1U);
  EXPECT_THAT(ErrorOf(with(2, end)), HasSubstr("contradicts itself or the plain one"));
  EXPECT_THAT(ErrorOf(with(1, end - 1)), HasSubstr("contradicts itself or the plain one"));
  std::string without = plain;
  without.replace(end + 16, 4, Little(0xFFFFFFFF, 4));
  EXPECT_THAT(ErrorOf(without), HasSubstr("it would have to end at byte"));
}

TEST(ZipArchive, MembersOfMoreThan4GiBTellTheirSizeInAnExtraField) {
  ZipPart part = kFirst;
  part.size = 0xFFFFFFFF;
  part.central_extra = Little(1, 2) + Little(16, 2) + Little(7, 8) + Little(7, 8);
  EXPECT_EQ(MembersOf(ZipBytes({part})).at("root/first"), "1234567");
  part.central_extra =
      Little(1, 2) + Little(16, 2) + Little(uint64_t{1} << 40, 8) + Little(uint64_t{1} << 40, 8);
  EXPECT_THAT(ErrorOf({part}), HasSubstr("has 1099511627776 bytes, but only"));
  part.central_extra = Little(1, 2) + Little(8, 2) + Little(7, 8);
  EXPECT_THAT(ErrorOf({part}), HasSubstr("has other extra fields than its sizes need"));
}

TEST(ZipArchive, RefusesWhatIsNoArchive) {
  for (const std::string& bytes : {std::string(), std::string("PK"), std::string(4096, 'x')}) {
    EXPECT_THAT(ErrorOf(bytes), HasSubstr("the last bytes are not the end of a zip archive"));
  }
  const std::string whole = ZipBytes({kFirst, kSecond});
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(ErrorOf(whole.substr(0, size)), HasSubstr("cut short")) << size;
  }
  EXPECT_THAT(ErrorOf(whole + "x"), HasSubstr("followed by other bytes"));
  EXPECT_THAT(ErrorOf("x" + whole), HasSubstr("is promised, but it would have to end at byte"));
}

TEST(ZipArchive, EveryFlippedBitOfAMemberShows) {
  const std::string whole = ZipBytes({kFirst});
  const size_t begin = whole.find("1234567");
  for (size_t bit = 0; bit < 7 * 8; ++bit) {
    std::string damaged = whole;
    damaged[begin + bit / 8] = static_cast<char>(damaged[begin + bit / 8] ^ (1 << (bit % 8)));
    EXPECT_THAT(ErrorOf(damaged), HasSubstr("member \"root/first\" is damaged: its CRC-32"));
  }
}

TEST(ZipArchive, RefusesNamesThatLeadElsewhere) {
  const std::vector<std::pair<std::string, std::string>> names{
      {"/etc/passwd", "is absolute"},
      {"a/../b", "has the part \"..\""},
      {"..", "has the part \"..\""},
      {"./a", "has the part \".\""},
      {"a\\b", "has a \\ or : in it"},
      {"C:a", "has a \\ or : in it"},
      {"a//b", "has an empty part"},
      {"a/", "is that of a folder"},
      {"", "has 0 bytes"},
      {std::string(513, 'a'), "has 513 bytes; 1 to 512"},
      {"a\nb", "printable ASCII"},
      {std::string("a\0b", 3), "printable ASCII"},
      {"\xC3\xA4", "printable ASCII"}};
  for (const auto& [name, words] : names) {
    EXPECT_THAT(ErrorOf({{.name = name, .bytes = "x"}}), HasSubstr(words));
  }
}

TEST(ZipArchive, RefusesNamesThatReadersWouldTakeForAnother) {
  EXPECT_THAT(ErrorOf({kFirst, kFirst}), HasSubstr("member \"root/first\" is there twice"));
  // torch's reader does not tell small letters from capital ones.
  EXPECT_THAT(ErrorOf({kFirst, {.name = "Root/FIRST", .bytes = ""}}), HasSubstr("is there twice"));
  ZipPart other = kFirst;
  other.local_name = "root/fjrst";
  EXPECT_THAT(ErrorOf({other}), HasSubstr("has a header that contradicts the directory"));
}

TEST(ZipArchive, RefusesCompressedAndEncryptedMembers) {
  ZipPart part = kFirst;
  part.method = 8;
  EXPECT_THAT(ErrorOf({part}),
              AllOf(HasSubstr("is compressed (method 8)"), HasSubstr("only stored members")));
  part = kFirst;
  part.flags = 1;
  EXPECT_THAT(ErrorOf({part}), HasSubstr("is encrypted"));
  part.flags = 0x20;
  EXPECT_THAT(ErrorOf({part}), HasSubstr("has the flags 32"));
  part = kFirst;
  part.stored = 3;
  EXPECT_THAT(ErrorOf({part}), HasSubstr("is stored in 3 bytes, but has 7"));
}

TEST(ZipArchive, RefusesMembersThatOverlapOrLeaveGaps) {
  ZipPart second{.name = "root/second", .bytes = "abc"};
  second.offset = 0;
  EXPECT_THAT(ErrorOf({kFirst, second}), HasSubstr("\"root/second\" overlaps the one before it"));
  second.offset = 0xFFFF;
  EXPECT_THAT(ErrorOf({kFirst, second}), HasSubstr("begins after a gap"));
  EXPECT_THAT(ErrorOf(ZipBytes({kFirst}, {}, "hidden")),
              HasSubstr("a gap of 6 bytes lies before the directory"));
  EXPECT_THAT(ErrorOf(ZipBytes({kFirst, kSecond}, {}, "hidden")),
              HasSubstr("begins after a gap of 6 bytes"));
  ZipPart large = kFirst;
  large.size = 1'000'000;
  EXPECT_THAT(ErrorOf({large}), HasSubstr("has 1000000 bytes, but only"));
  large.size = 6;
  EXPECT_THAT(ErrorOf({large}), HasSubstr("has a header that contradicts the directory"));
}

TEST(ZipArchive, RefusesADirectoryThatCountsWrongly) {
  EXPECT_THAT(ErrorOf(ZipBytes({kFirst}, 2)), HasSubstr("promises 2 members, but holds 1"));
  EXPECT_THAT(ErrorOf(ZipBytes({kFirst, kSecond}, 1)),
              HasSubstr("has 64 bytes after its last member"));
  EXPECT_THAT(ErrorOf(ZipBytes({}, 65535)), HasSubstr("promises 65535 members, but holds 0"));
}

TEST(ZipArchive, RefusesCommentsAndUnknownExtraFields) {
  ZipPart part = kFirst;
  part.comment = "hello";
  EXPECT_THAT(ErrorOf({part}), HasSubstr("has a comment"));
  part = kFirst;
  part.extra = "UT" + Little(1, 2) + "x";
  EXPECT_THAT(ErrorOf({part}), HasSubstr("other than zip64 sizes and padding"));
  part.extra = "FB" + Little(200, 2) + std::string(200, 'Z');
  EXPECT_THAT(ErrorOf({part}), HasSubstr("other than zip64 sizes and padding"));
  part.extra = "FB" + Little(9, 2) + "ZZ";
  EXPECT_THAT(ErrorOf({part}), HasSubstr("other than zip64 sizes and padding"));
  std::string whole = ZipBytes({kFirst});
  whole[whole.size() - 2] = 1;
  EXPECT_THAT(ErrorOf(whole + "c"), HasSubstr("the last bytes are not the end"));
  EXPECT_THAT(ErrorOf(whole), HasSubstr("or has a comment"));
}

TEST(ZipArchive, CanBeInterrupted) {
  const std::string whole = ZipBytes({{.name = "a", .bytes = std::string(size_t{65} << 20, 'x')}});
  int calls = 0;
  const ZipArchive archive(BytesOf(whole), "x.pt2", [&] { ++calls; });
  EXPECT_EQ(calls, 1);
  EXPECT_THROW(ZipArchive(BytesOf(whole), "x.pt2", [] { throw std::runtime_error("stop"); }),
               std::runtime_error);
}

}  // namespace
}  // namespace genie_env
