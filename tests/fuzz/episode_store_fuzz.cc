// Any bytes in the files of a store are either episodes, which can then be read and gone on with,
// or a FormatError. The input says which files of a sound store to replace, and by what. See
// README.md.
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "genie_env/core/error.h"
#include "genie_env/data/episode_store.h"
#include "tests/fuzz/scratch.h"

namespace genie_env {
namespace {

constexpr std::array<const char*, 8> kFiles = {
    "frames.npy",      "actions.npy",        "rewards.npy", "terminations.npy",
    "truncations.npy", "episode_starts.npy", "meta.json",   "final_frames.npy"};

constexpr const char* kFormat1 = R"({"format_version": 1})";
constexpr const char* kBox = R"({"format_version": 2,
  "columns": {"frames": {"dtype": "uint8", "shape": [2, 2, 3]},
              "actions": {"dtype": "float32", "shape": [2]},
              "rewards": {"dtype": "float32", "shape": []},
              "terminations": {"dtype": "bool", "shape": []},
              "truncations": {"dtype": "bool", "shape": []}},
  "episode_columns": {"final_frames": {"dtype": "uint8", "shape": [2, 2, 3]}},
  "actions": {"type": "box", "shape": [2], "low": [-1, 0], "high": [1, 2]}})";

const std::array<uint8_t, 24> kFrames{};
const std::array<int64_t, 2> kActions{1, 2};
const std::array<float, 4> kBoxActions{1, 2, -1, 0};
const std::array<float, 2> kRewards{1, 1};
const std::array<uint8_t, 2> kLast{0, 1};
const std::array<uint8_t, 2> kNever{};

void Append(EpisodeWriter& writer, int64_t frame_bytes) {
  EpisodeView episode{kFrames, {}, kRewards, kLast, kNever};
  if (frame_bytes != 12) return;
  if (!writer.has_box_actions()) {
    episode.actions = kActions;
  } else if (writer.action_shape() == std::vector<int64_t>{2}) {
    episode.box_actions = kBoxActions;
  } else {
    return;
  }
  if (writer.has_final_frames()) episode.final_frame = std::span(kFrames).first(12);
  try {
    writer.Append(episode);
  } catch (const std::invalid_argument&) {  // meta.json may not allow these actions
  }
}

/// The bytes of kFiles in a store of two sound episodes.
std::vector<std::string> SoundStore(const char* meta) {
  std::filesystem::remove(Scratch() / "episode_starts.npy");
  for (const char* file : kFiles) std::filesystem::remove(Scratch() / file);
  EpisodeWriter writer(Scratch(), 2, 2, meta);
  Append(writer, 12);
  Append(writer, 12);
  std::vector<std::string> files;
  for (const char* file : kFiles) {
    files.push_back(std::filesystem::exists(Scratch() / file) ? ReadBytes(Scratch() / file) : "");
  }
  return files;
}

template <typename T>
unsigned Sum(std::span<const T> elements) {
  unsigned sum = 0;
  for (const std::byte byte : std::as_bytes(elements)) sum += std::to_integer<unsigned>(byte);
  return sum;
}

void ReadAll(const EpisodeStore& store) {
  volatile unsigned sum = 0;
  sum = sum + Sum(store.frames()) + Sum(store.actions()) + Sum(store.rewards());
  sum = sum + Sum(store.box_actions()) + Sum(store.final_frames());
  sum = sum + Sum(store.terminations()) + Sum(store.truncations()) + Sum(store.episode_starts());
}

}  // namespace
}  // namespace genie_env

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace genie_env;
  FuzzedDataProvider input(data, size);
  static const std::vector<std::string> format_1 = SoundStore(kFormat1), box = SoundStore(kBox);
  std::vector<std::pair<size_t, std::string>> replaced;
  do {
    const size_t file = input.ConsumeIntegralInRange<size_t>(0, kFiles.size() - 1);
    replaced.emplace_back(file, input.ConsumeRandomLengthString());
  } while (input.ConsumeBool());
  std::vector<std::string> files = input.ConsumeBool() ? box : format_1;
  for (auto& [file, bytes] : replaced) files[file] = std::move(bytes);
  for (size_t i = 0; i < kFiles.size(); ++i) WriteBytes(Scratch() / kFiles[i], files[i]);
  try {
    const EpisodeStore store(Scratch());
    ReadAll(store);
    EpisodeWriter writer(Scratch(), store.height(), store.width(), store.meta());
    Append(writer, store.height() * store.width() * 3);
    const EpisodeStore again(Scratch());
    ReadAll(again);
    if (again.num_episodes() != writer.num_episodes()) abort();
  } catch (const FormatError&) {
  }
  return 0;
}
