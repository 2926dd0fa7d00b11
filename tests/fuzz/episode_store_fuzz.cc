// Any bytes in the files of a store are either episodes, which can then be read and gone on with,
// or a FormatError. The input says which files of a sound store to replace, and by what. See
// README.md.
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <string>
#include <vector>

#include "genie_env/core/error.h"
#include "genie_env/data/episode_store.h"
#include "tests/fuzz/scratch.h"

namespace genie_env {
namespace {

constexpr std::array<const char*, 7> kFiles = {
    "frames.npy",      "actions.npy",        "rewards.npy", "terminations.npy",
    "truncations.npy", "episode_starts.npy", "meta.json"};

const std::array<uint8_t, 24> kFrames{};
const std::array<int64_t, 2> kActions{1, 2};
const std::array<float, 2> kRewards{1, 1};
const std::array<uint8_t, 2> kLast{0, 1};
const std::array<uint8_t, 2> kNever{};

void Append(EpisodeWriter& writer, int64_t frame_bytes) {
  if (frame_bytes == 12) writer.Append({kFrames, kActions, kRewards, kLast, kNever});
}

/// The bytes of kFiles in a store of two sound episodes.
std::vector<std::string> SoundStore() {
  EpisodeWriter writer(Scratch(), 2, 2, R"({"format_version": 1})");
  Append(writer, 12);
  Append(writer, 12);
  std::vector<std::string> files;
  for (const char* file : kFiles) files.push_back(ReadBytes(Scratch() / file));
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
  sum = sum + Sum(store.terminations()) + Sum(store.truncations()) + Sum(store.episode_starts());
}

}  // namespace
}  // namespace genie_env

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace genie_env;
  FuzzedDataProvider input(data, size);
  static const std::vector<std::string> sound = SoundStore();
  std::vector<std::string> files = sound;
  do {
    const size_t file = input.ConsumeIntegralInRange<size_t>(0, kFiles.size() - 1);
    files[file] = input.ConsumeRandomLengthString();
  } while (input.ConsumeBool());
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
