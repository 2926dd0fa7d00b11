#include "genie_env/worlds/world_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/io/safetensors.h"
#include "genie_env/io/sha256.h"
#include "tests/cpp/files.h"
#include "tests/cpp/zip_bytes.h"

namespace genie_env {
namespace {

using testing::HasSubstr;

constexpr const char* kConfig =
    R"({"format_version": 1, "family": "vision-memory", "name": "doom-take-cover"})";

// Files without tensors.
const std::string kWeights = SafetensorsBytes({}, {{"of", "weights"}});
const std::string kStarts = SafetensorsBytes({}, {{"of", "starts"}});

std::string HashOf(std::string_view text) { return Sha256(std::as_bytes(std::span(text))); }

/// A directory as it should be; the tests then spoil it.
class WorldDirectoryTest : public testing::Test {
 protected:
  WorldDirectoryTest() {
    WriteBytes(path() / "config.json", kConfig);
    WriteBytes(path() / "model.safetensors", kWeights);
    WriteBytes(path() / "starts.safetensors", kStarts);
  }

  const std::filesystem::path& path() const { return directory_.path(); }

  std::string ErrorWith(const std::string& config) const {
    WriteBytes(path() / "config.json", config);
    return Error();
  }

  std::string Error() const {
    return TextOf<FormatError>([this] { OpenWorldDirectory(path()); });
  }

 private:
  TemporaryDirectory directory_;
};

TEST_F(WorldDirectoryTest, ReadsTheConfiguration) {
  const WorldDirectory world = OpenWorldDirectory(path());
  EXPECT_EQ(world.path, path());
  EXPECT_EQ(world.config, kConfig);
  EXPECT_EQ(world.family, "vision-memory");
  EXPECT_EQ(world.name, "doom-take-cover");
  EXPECT_EQ(world.weights_file(), path() / "model.safetensors");
  EXPECT_EQ(world.starts_file(), path() / "starts.safetensors");
}

TEST_F(WorldDirectoryTest, SaysHowFastItsGameIsAsFarAsIsKnown) {
  struct Case {
    const char* config;
    const char* game;
    std::optional<double> rate;
  };
  for (const auto& [config, game, rate] : {
           Case{R"("frames_per_second": 8.75)", "", 8.75},
           Case{R"("real_game": "tag", "frames_per_second": 8.75,
                   "training": {"data": [{"game": "pong", "frames_per_second": 20}]})",
                "tag", 8.75},
           Case{R"("training": {"data": [5, {}, {"game": "pong", "frames_per_second": 20}]})",
                "pong", 20.0},
           Case{R"("training": {"data": {"vision": [{"game": "tag"}],
                                         "memory": [{"game": "tag", "frames_per_second": 10}]}})",
                "tag", 10.0},
           Case{R"("training": {"data": [{"game": 7, "frames_per_second": "10"}]})", "", {}},
           Case{R"("training": {"data": {"vision": 5}})", "", {}},
           Case{R"("training": {"data": 5})", "", {}},
           Case{R"("training": [])", "", {}},
           Case{R"("real_game": null)", "", {}},
       }) {
    WriteBytes(
        path() / "config.json",
        std::string(R"({"format_version": 2, "family": "genie", "name": "w", )") + config + "}");
    const WorldDirectory world = OpenWorldDirectory(path());
    EXPECT_EQ(world.game, game) << config;
    EXPECT_EQ(world.frames_per_second, rate) << config;
  }
  for (const char* wrong : {"0", "-1", "null", R"("35")"}) {
    const std::string error =
        ErrorWith(R"({"format_version": 2, "family": "genie", "name": "w", "frames_per_second": )" +
                  std::string(wrong) + "}");
    EXPECT_THAT(error,
                HasSubstr(R"("frames_per_second" is )" + std::string(wrong) + ", expected "));
  }
}

// As `sha256sum config.json model.safetensors starts.safetensors | sha256sum` gives it.
TEST_F(WorldDirectoryTest, TheFingerprintCoversEveryFile) {
  const std::string fingerprint = OpenWorldDirectory(path()).fingerprint;
  EXPECT_EQ(fingerprint,
            HashOf(HashOf(kConfig) + "  config.json\n" + HashOf(kWeights) +
                   "  model.safetensors\n" + HashOf(kStarts) + "  starts.safetensors\n"));
  WriteBytes(path() / "README.md", "the model card does not count");
  EXPECT_EQ(OpenWorldDirectory(path()).fingerprint, fingerprint);
  for (const auto& [file, other] : {std::pair{"config.json", kConfig + std::string(" ")},
                                    {"model.safetensors", SafetensorsBytes({})},
                                    {"starts.safetensors", SafetensorsBytes({})}}) {
    const std::string before = ReadBytes(path() / file);
    WriteBytes(path() / file, other);
    EXPECT_NE(OpenWorldDirectory(path()).fingerprint, fingerprint) << file;
    WriteBytes(path() / file, before);
  }
  EXPECT_EQ(OpenWorldDirectory(path()).fingerprint, fingerprint);
}

// A download that replaces the files while a world is loaded gives that world no other's
// fingerprint.
TEST_F(WorldDirectoryTest, MayHoldExportedGraphsInPlaceOfWeights) {
  const std::string exported = ZipBytes({{.name = "archive/version", .bytes = "3"}});
  WriteBytes(path() / "model.pt2", exported);
  EXPECT_THAT(Error(), HasSubstr("has both model.safetensors and model.pt2"));
  std::filesystem::remove(path() / "model.safetensors");
  const WorldDirectory world = OpenWorldDirectory(path());
  EXPECT_EQ(world.weights_file(), path() / "model.pt2");
  EXPECT_EQ(world.weights.bytes().size(), exported.size());
  EXPECT_EQ(world.fingerprint,
            HashOf(HashOf(kConfig) + "  config.json\n" + HashOf(exported) + "  model.pt2\n" +
                   HashOf(kStarts) + "  starts.safetensors\n"));
  WriteBytes(path() / "model.pt2", exported.substr(1));
  EXPECT_THAT(Error(), HasSubstr((path() / "model.pt2").string() + ": "));
  std::filesystem::remove(path() / "model.pt2");
  EXPECT_THAT(Error(), HasSubstr("model.safetensors"));
}

TEST_F(WorldDirectoryTest, WhatWasHashedIsWhatIsRead) {
  const WorldDirectory world = OpenWorldDirectory(path());
  for (const char* file : {"config.json", "model.safetensors", "starts.safetensors"}) {
    WriteFileAtomically(path() / file, "another one's");
  }
  const auto text = [](const MappedFile& file) {
    return std::string_view(reinterpret_cast<const char*>(file.bytes().data()),
                            file.bytes().size());
  };
  EXPECT_EQ(world.config, kConfig);
  EXPECT_EQ(text(world.weights), kWeights);
  EXPECT_EQ(text(world.starts), kStarts);
}

TEST_F(WorldDirectoryTest, HostileConfigurationsAreRefused) {
  const std::string file = (path() / "config.json").string();
  const std::string rest = R"("family": "f", "name": "n"})";
  EXPECT_EQ(ErrorWith(""), file + " is not valid JSON at byte 1");
  EXPECT_EQ(ErrorWith("{"), file + " is not valid JSON at byte 2");
  EXPECT_EQ(ErrorWith("[]"), file + " is not a JSON object");
  EXPECT_EQ(ErrorWith("3"), file + " is not a JSON object");
  EXPECT_EQ(ErrorWith("{\"a\": \xC0}"), file + " is not valid JSON at byte 7");
  EXPECT_EQ(ErrorWith(R"({"name": "a", "name": "b"})"), file + " has the key \"name\" twice");
  EXPECT_EQ(ErrorWith(R"({"a": )" + std::string(1000, '[')), file + " is nested more than 32 deep");
  EXPECT_EQ(ErrorWith("{" + rest), file + " has no \"format_version\", expected 1 to 3");
  for (const std::string version : {"0", "4", "1.5", "-1"}) {
    EXPECT_EQ(ErrorWith(R"({"format_version": )" + version + ", " + rest),
              file + ": \"format_version\" is " + version +
                  ", but this genie_env reads 1 to 3: install one that matches the world");
  }
  EXPECT_THAT(ErrorWith(R"({"format_version": "1", )" + rest),
              HasSubstr("\"format_version\" is \"1\", but"));
  EXPECT_EQ(ErrorWith(R"({"format_version": 1, "name": "n"})"), file + " has no \"family\"");
  EXPECT_EQ(ErrorWith(R"({"format_version": 1, "family": 7, "name": "n"})"),
            file + ": \"family\" is 7, expected a text that is not empty");
  EXPECT_EQ(ErrorWith(R"({"format_version": 1, "family": "f"})"), file + " has no \"name\"");
  EXPECT_EQ(ErrorWith(R"({"format_version": 1, "family": "f", "name": ""})"),
            file + ": \"name\" is \"\", expected a text that is not empty");
  EXPECT_THAT(ErrorWith(kConfig + std::string((16 << 20) + 1, ' ')),
              HasSubstr("bytes; a configuration has at most 16777216"));
}

// A file of 200 GiB, which takes no room on the disk.
TEST_F(WorldDirectoryTest, SizesAreCheckedBeforeAnythingIsHashed) {
  constexpr uintmax_t kHuge = uintmax_t{200} << 30;
  for (const char* name : {"model.safetensors", "starts.safetensors"}) {
    const std::filesystem::path file = path() / name;
    const std::string before = ReadBytes(file);
    std::filesystem::resize_file(file, kHuge);
    EXPECT_EQ(Error(), file.string() + ": " + std::to_string(kHuge - before.size()) +
                           " bytes after the last tensor belong to none");
    WriteBytes(file, before);
  }
}

TEST_F(WorldDirectoryTest, HashingCanBeStopped) {
  constexpr size_t kBytes = size_t{200} << 30;
  const std::string header = R"({"w":{"dtype":"U8","shape":[214748364800],)"
                             R"("data_offsets":[0,214748364800]}})";
  WriteBytes(path() / "model.safetensors",
             std::string(1, static_cast<char>(header.size())) + std::string(7, '\0') + header);
  std::filesystem::resize_file(path() / "model.safetensors", 8 + header.size() + kBytes);
  int calls = 0;
  EXPECT_EQ(TextOf<std::runtime_error>([&] {
              OpenWorldDirectory(path(), [&] {
                if (++calls == 2) throw std::runtime_error("Ctrl-C");
              });
            }),
            "Ctrl-C");
}

TEST_F(WorldDirectoryTest, MissingFilesAreNamed) {
  for (const char* file : {"config.json", "model.safetensors", "starts.safetensors"}) {
    const std::string before = ReadBytes(path() / file);
    std::filesystem::remove(path() / file);
    EXPECT_EQ(Error(), (path() / file).string() + ": No such file or directory");
    WriteBytes(path() / file, before);
  }
  EXPECT_EQ(TextOf<FormatError>([this] { OpenWorldDirectory(path() / "nowhere"); }),
            (path() / "nowhere").string() + " is not a world directory: No such file or directory");
  EXPECT_EQ(TextOf<FormatError>([this] { OpenWorldDirectory(path() / "config.json"); }),
            (path() / "config.json").string() + " is not a world directory: it is a file");
}

// FIPS 180-4's examples, and lengths on both sides of every boundary of the padding.
TEST(Sha256, GivesThePublishedAnswers) {
  EXPECT_EQ(HashOf(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HashOf("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(HashOf("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(
      HashOf("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopq"
             "klmnopqrlmnopqrsmnopqrstnopqrstu"),
      "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(HashOf(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(HashOf(std::string(55, 'a')),
            "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
  EXPECT_EQ(HashOf(std::string(56, 'a')),
            "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
  EXPECT_EQ(HashOf(std::string(63, 'a')),
            "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34");
  EXPECT_EQ(HashOf(std::string(64, 'a')),
            "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
  EXPECT_EQ(HashOf(std::string(65, 'a')),
            "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0");
  EXPECT_EQ(HashOf(std::string(119, 'a')),
            "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb");
  EXPECT_EQ(HashOf(std::string(120, 'a')),
            "2f3d335432c70b580af0e8e1b3674a7c020d683aa5f73aaaedfdc55af904c21c");
}

}  // namespace
}  // namespace genie_env
