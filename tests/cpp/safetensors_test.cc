#include "genie_env/io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>

#include "genie_env/core/error.h"
#include "tests/cpp/files.h"

namespace genie_env {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::StartsWith;

std::string Length(uint64_t header_bytes) {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header_bytes >> (8 * i));
  return bytes;
}

std::string FileOf(const std::string& header, size_t data_bytes) {
  return Length(header.size()) + header + std::string(data_bytes, 'd');
}

template <typename T>
std::vector<T> Values(const TensorView& tensor) {
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

template <typename T>
TensorView ViewOf(StoredType type, std::vector<int64_t> shape, const std::vector<T>& values) {
  return {type, std::move(shape), std::as_bytes(std::span(values))};
}

const std::filesystem::path kReference =
    std::filesystem::path(GENIE_ENV_TEST_DATA) / "reference.safetensors";

// Written by the `safetensors` package: see tests/python/test_safetensors.py.
TEST(Safetensors, ReadsWhatThePackageWrites) {
  const SafetensorsFile file(kReference);
  EXPECT_THAT(file.metadata(), ElementsAre(Pair("kind", "reference, τ = 1.15")));
  const auto& tensors = file.tensors();
  ASSERT_EQ(tensors.size(), 9U);

  EXPECT_EQ(tensors.at("integers").type, StoredType::kInt64);
  EXPECT_THAT(tensors.at("integers").shape, ElementsAre(2, 2));
  EXPECT_THAT(Values<int64_t>(tensors.at("integers")), ElementsAre(-1, 2, 3, -(int64_t{1} << 62)));
  EXPECT_EQ(tensors.at("double").type, StoredType::kFloat64);
  EXPECT_THAT(tensors.at("double").shape, ElementsAre());
  EXPECT_THAT(Values<double>(tensors.at("double")), ElementsAre(1.0 / 3));
  EXPECT_EQ(tensors.at("vision.weight").type, StoredType::kFloat32);
  EXPECT_THAT(Values<float>(tensors.at("vision.weight")), ElementsAre(0.1F, -0.2F, 0.3F));
  EXPECT_THAT(Values<float>(tensors.at("named \"τ\" \\")), ElementsAre(1.0F));
  EXPECT_THAT(tensors.at("empty").shape, ElementsAre(0, 4));
  EXPECT_TRUE(tensors.at("empty").bytes.empty());
  EXPECT_EQ(tensors.at("half").type, StoredType::kFloat16);
  EXPECT_THAT(Values<uint16_t>(tensors.at("half")), ElementsAre(0x3800, 0xC000, 0x7BFF));
  EXPECT_EQ(tensors.at("bfloat16").type, StoredType::kBFloat16);
  EXPECT_THAT(Values<uint16_t>(tensors.at("bfloat16")), ElementsAre(0x3F80, 0xC040));
  EXPECT_EQ(tensors.at("bytes").type, StoredType::kUInt8);
  EXPECT_THAT(Values<uint8_t>(tensors.at("bytes")), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_EQ(tensors.at("bool").type, StoredType::kBool);
  EXPECT_THAT(Values<uint8_t>(tensors.at("bool")), ElementsAre(1, 0, 1));
}

TEST(Safetensors, WritesWhatThePackageWrites) {
  const TemporaryDirectory directory;
  const std::filesystem::path copy = directory.path() / "copy.safetensors";
  const SafetensorsFile reference(kReference);
  WriteSafetensors(copy, reference.tensors(), reference.metadata());
  EXPECT_EQ(ReadBytes(copy), ReadBytes(kReference));
}

TEST(Safetensors, ReplacesAFileWhileItIsRead) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "weights.safetensors";
  const std::vector<float> values = {1, 2, 3};
  WriteSafetensors(path, {{"a", ViewOf(StoredType::kFloat32, {3}, values)}});
  SafetensorsFile old(path);
  WriteSafetensors(path, {{"b", ViewOf(StoredType::kFloat32, {3, 1}, values)}}, {{"k", "v"}});
  EXPECT_THAT(Values<float>(old.tensors().at("a")), ElementsAre(1, 2, 3));
  old = SafetensorsFile(path);
  EXPECT_THAT(old.tensors().at("b").shape, ElementsAre(3, 1));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
}

TEST(Safetensors, AFileWithoutTensors) {
  const TemporaryDirectory directory;
  WriteSafetensors(directory.path() / "empty", {});
  EXPECT_TRUE(SafetensorsFile(directory.path() / "empty").tensors().empty());
  // The shortest file that there can be.
  WriteBytes(directory.path() / "shortest", FileOf("{}", 0));
  EXPECT_TRUE(SafetensorsFile(directory.path() / "shortest").metadata().empty());
}

struct Hostile {
  const char* what;
  std::string bytes;
  const char* words;
};

std::string Nested(size_t depth) {
  return R"({"a":)" + std::string(depth, '[') + std::string(depth, ']') + "}";
}

const std::vector<Hostile>& HostileFiles() {
  static const std::vector<Hostile> files = {
      {"empty", "", "the file has 0 bytes; a safetensors file begins with the 8 bytes"},
      {"seven bytes", std::string(7, '\0'), "the file has 7 bytes"},
      {"no header", Length(0), "the header does not begin with {"},
      {"cut within the header", Length(9) + "{}",
       "the file is cut short: a header of 9 bytes is promised, but only 2 bytes follow"},
      {"huge header", Length((16 << 20) + 1) + "{}",
       "a header of 16777217 bytes is promised; at most 16777216 are allowed"},
      {"header of 2^64 - 1 bytes", Length(~uint64_t{0}) + "{}", "at most 16777216 are allowed"},
      {"spaces first", FileOf(" {}", 0), "the header does not begin with {"},
      {"an array", FileOf("[]", 0), "the header does not begin with {"},
      {"not JSON", FileOf("{\"a\":}", 0), "the header is not valid JSON at byte 6"},
      {"JSON that goes on", FileOf("{}{}", 0), "the header is not valid JSON at byte 3"},
      {"not UTF-8", FileOf("{\"\xFF\":{}}", 0), "the header is not valid JSON at byte 3"},
      {"a number too large",
       FileOf(R"({"a":{"dtype":"U8","shape":[1e999],"data_offsets":[0,0]}})", 0),
       "the header is not valid JSON at byte"},
      {"nested deeply", FileOf(Nested(100'000), 0), "the header is nested more than 32 deep"},
      {"the same tensor twice",
       FileOf(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
              R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
              0),
       "the header has the key \"a\" twice"},
      {"the same field twice",
       FileOf(R"({"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0),
       "the header has the key \"dtype\" twice"},
      {"a tensor that is a number", FileOf(R"({"a":1})", 0),
       "tensor \"a\" does not have just the keys dtype, shape and data_offsets"},
      {"a missing key", FileOf(R"({"a":{"dtype":"U8","shape":[0]}})", 0),
       "tensor \"a\" does not have just the keys"},
      {"an unknown key",
       FileOf(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}})", 0),
       "tensor \"a\" does not have just the keys"},
      {"an unknown dtype", FileOf(R"({"a":{"dtype":"I3","shape":[0],"data_offsets":[0,0]}})", 0),
       "tensor \"a\": dtype is \"I3\", expected one of I64, F64, F32, BF16, F16, U8, BOOL"},
      {"a dtype that is a number",
       FileOf(R"({"a":{"dtype":7,"shape":[0],"data_offsets":[0,0]}})", 0),
       "tensor \"a\": dtype is 7, expected one of"},
      {"a shape that is a number",
       FileOf(R"({"a":{"dtype":"U8","shape":0,"data_offsets":[0,0]}})", 0),
       "tensor \"a\": shape is not an array"},
      {"a negative size", FileOf(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}})", 0),
       "tensor \"a\": shape holds -1, which is not a count"},
      {"a fraction", FileOf(R"({"a":{"dtype":"U8","shape":[0.5],"data_offsets":[0,0]}})", 0),
       "tensor \"a\": shape holds 0.5, which is not a count"},
      {"a size of 2^63",
       FileOf(R"({"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,0]}})", 0),
       "shape holds 9223372036854775808, which is not a count"},
      {"too many dimensions",
       FileOf(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],)"
              R"("data_offsets":[0,1]}})",
              1),
       "tensor \"a\": shape has 17 numbers, at most 16 are allowed"},
      {"a product that wraps to 0",
       FileOf(R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
       "tensor \"a\" has 0 bytes, but shape [4294967296, 4294967296] of U8 needs more than can be "
       "counted"},
      {"a size that wraps to 0",
       FileOf(R"({"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}})", 0),
       "of F64 needs more than can be counted"},
      {"too few bytes", FileOf(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,7]}})", 7),
       "tensor \"a\" has 7 bytes, but shape [2] of F32 needs 8"},
      {"offsets that are no pair",
       FileOf(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}})", 1),
       "tensor \"a\": data_offsets has 3 numbers, at most 2 are allowed"},
      {"a single offset", FileOf(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1]}})", 1),
       "tensor \"a\": data_offsets is not a pair [begin, end]"},
      {"offsets the wrong way round",
       FileOf(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1),
       "tensor \"a\": data_offsets is not a pair [begin, end]"},
      {"data cut short", FileOf(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 3),
       "tensor \"a\" ends at byte 4 of the data, but only 3 bytes are there; the file is cut "
       "short"},
      {"offsets near 2^63",
       FileOf(R"({"a":{"dtype":"U8","shape":[1],)"
              R"("data_offsets":[9223372036854775806,9223372036854775807]}})",
              1),
       "ends at byte 9223372036854775807 of the data"},
      {"an overlap",
       FileOf(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
              R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
              3),
       "tensor \"b\" overlaps another tensor"},
      {"the same bytes twice",
       FileOf(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
              R"("b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
              2),
       "overlaps another tensor"},
      {"an empty tensor within another",
       FileOf(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
              R"("b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})",
              2),
       "tensor \"b\" overlaps another tensor"},
      {"a gap",
       FileOf(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
              R"("b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}})",
              4),
       "a gap of 2 bytes lies before tensor \"b\""},
      {"bytes that belong to no tensor",
       FileOf(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 6),
       "5 bytes after the last tensor belong to none"},
      {"metadata that is an array", FileOf(R"({"__metadata__":[]})", 0),
       "__metadata__ is not an object"},
      {"metadata that is no text", FileOf(R"({"__metadata__":{"k":1}})", 0),
       "__metadata__ \"k\" is not a text"},
      {"a long name with a control character",
       FileOf("{\"" + std::string(79, 'a') + "\\n\u00E9\":1}", 0),
       "aaaaaaaaaaaaaaa?...\" does not have just the keys"},
  };
  return files;
}

TEST(Safetensors, HostileFilesAreRefusedWithOneClearError) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "hostile.safetensors";
  for (const Hostile& hostile : HostileFiles()) {
    SCOPED_TRACE(hostile.what);
    WriteBytes(path, hostile.bytes);
    const std::string text = TextOf<FormatError>([&] { SafetensorsFile file(path); });
    EXPECT_THAT(text, StartsWith(path.string() + ": "));
    EXPECT_THAT(text, HasSubstr(hostile.words));
    EXPECT_LT(text.size(), 400U);
  }
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "cut.safetensors";
  const std::string whole = ReadBytes(kReference);
  for (size_t size = 0; size < whole.size(); ++size) {
    WriteBytes(path, whole.substr(0, size));
    TextOf<FormatError>([&] { SafetensorsFile file(path); });
  }
}

TEST(Safetensors, WhatIsNotAFileIsRefused) {
  const TemporaryDirectory directory;
  EXPECT_THAT(TextOf<FormatError>([&] { SafetensorsFile file(directory.path() / "none"); }),
              HasSubstr("none: No such file or directory"));
  EXPECT_THAT(TextOf<FormatError>([&] { SafetensorsFile file(directory.path()); }),
              HasSubstr(" is not a regular file"));
  const std::filesystem::path pipe = directory.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(TextOf<FormatError>([&] { SafetensorsFile file(pipe); }),
              HasSubstr("pipe is not a regular file"));
}

TEST(Safetensors, WrongTensorsAreNotWritten) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "never.safetensors";
  const std::vector<float> values = {1, 2, 3};
  const auto written = [&](const std::string& name, const TensorView& tensor,
                           const std::map<std::string, std::string>& metadata = {}) {
    return TextOf<std::invalid_argument>([&] {
      WriteSafetensors(path, {{name, tensor}}, metadata);
    });
  };
  const TensorView good = ViewOf(StoredType::kFloat32, {3}, values);
  EXPECT_THAT(written("a", ViewOf(StoredType::kFloat32, {2, 2}, values)),
              HasSubstr("tensor \"a\" has 12 bytes, which is not what shape [2, 2] of F32 needs"));
  EXPECT_THAT(written("a", ViewOf(StoredType::kFloat32, {-3}, values)), HasSubstr("shape [-3]"));
  EXPECT_THAT(written("__metadata__", good), HasSubstr("cannot have the name __metadata__"));
  EXPECT_THAT(written("\xFF", good), HasSubstr("is not UTF-8"));
  EXPECT_THAT(written("a", good, {{"k", "\xFF"}}), HasSubstr("is not UTF-8"));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(Safetensors, AFullDiskLeavesTheOldFile) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "weights.safetensors";
  const std::vector<float> values(1000);
  WriteSafetensors(path, {{"old", ViewOf(StoredType::kFloat32, {1000}, values)}});

  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto signal_before = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit full{2000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &full), 0);
  const std::string text = TextOf<std::runtime_error>([&] {
    WriteSafetensors(path, {{"new", ViewOf(StoredType::kFloat32, {1000}, values)}});
  });
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, signal_before);

  EXPECT_THAT(text, StartsWith("cannot write " + path.string()));
  EXPECT_THAT(text, HasSubstr(" (2072 of 4000 bytes are missing): File too large"));
  EXPECT_EQ(SafetensorsFile(path).tensors().count("old"), 1U);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1)
      << "the temporary file stayed";
}

}  // namespace
}  // namespace genie_env
