#include "genie_env/data/episode_arrays.h"

#include <algorithm>
#include <system_error>

#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"

namespace genie_env {
namespace {

NpyArray OpenStarts(const std::filesystem::path& directory) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    throw FormatError(directory.string() + " is not a directory of episodes: " +
                      (error ? error.message() : "it is a file"));
  }
  if (!std::filesystem::exists(directory / kEpisodeStarts, error)) {
    throw FormatError(directory.string() + " is not a directory of episodes: it has no " +
                      kEpisodeStarts);
  }
  NpyArray array(directory / kEpisodeStarts, kNpyInt64, 1);
  const std::span<const int64_t> starts = array.elements<int64_t>();
  if (starts.empty() || starts[0] != 0) {
    throw FormatError(array.path().string() + " does not begin with 0");
  }
  for (size_t e = 1; e < starts.size(); ++e) {
    if (starts[e] <= starts[e - 1]) {
      throw FormatError(array.path().string() + ": entry " + std::to_string(e) + " is " +
                        std::to_string(starts[e]) + ", not more than the one before it, " +
                        std::to_string(starts[e - 1]));
    }
  }
  return array;
}

NpyArray MapColumn(const std::filesystem::path& directory, size_t column, int64_t num_frames) {
  NpyArray array(directory / kColumns[column].file, kColumns[column].type,
                 column == kFrames ? 4 : 1);
  if (array.shape()[0] < num_frames) {
    throw FormatError(array.path().string() + " has " + std::to_string(array.shape()[0]) +
                      " rows, but " + kEpisodeStarts + " promises " + std::to_string(num_frames) +
                      ": bring the file back from a copy");
  }
  return array;
}

void CheckFrames(const NpyArray& frames) {
  const int64_t height = frames.shape()[1];
  const int64_t width = frames.shape()[2];
  const int64_t channels = frames.shape()[3];
  if (height < 1 || height > kMaxRecordedSide || width < 1 || width > kMaxRecordedSide ||
      channels != 3) {
    throw FormatError(frames.path().string() + " holds frames of " + std::to_string(height) +
                      " x " + std::to_string(width) + " x " + std::to_string(channels) +
                      ", expected height x width x 3 with sides of 1 to " +
                      std::to_string(kMaxRecordedSide));
  }
}

}  // namespace

std::string FlagComplaint(std::span<const uint8_t> terminations,
                          std::span<const uint8_t> truncations) {
  for (size_t t = 0; t < terminations.size(); ++t) {
    if (terminations[t] > 1 || truncations[t] > 1) {
      return "has a flag that is neither 0 nor 1 at step " + std::to_string(t);
    }
    const bool last = t + 1 == terminations.size();
    const bool ends = (terminations[t] | truncations[t]) != 0;
    if (ends && !last) return "ends at step " + std::to_string(t) + ", before its last frame";
    if (!ends && last)
      return "has neither its termination nor its truncation set at its last frame";
  }
  return {};
}

std::string ActionComplaint(std::span<const int64_t> actions) {
  const auto found = std::ranges::find_if(actions, [](int64_t action) { return action < 0; });
  if (found == actions.end()) return {};
  return "action " + std::to_string(found - actions.begin()) + " is " + std::to_string(*found) +
         ", expected 0 or more";
}

EpisodeArrays::EpisodeArrays(const std::filesystem::path& directory)
    // The starts are read first: rows that a writer adds later are after the frames they count.
    : starts(OpenStarts(directory)),
      columns{MapColumn(directory, kFrames, starts.elements<int64_t>().back()),
              MapColumn(directory, kActions, starts.elements<int64_t>().back()),
              MapColumn(directory, kRewards, starts.elements<int64_t>().back()),
              MapColumn(directory, kTerminations, starts.elements<int64_t>().back()),
              MapColumn(directory, kTruncations, starts.elements<int64_t>().back())},
      num_episodes(starts.shape()[0] - 1),
      num_frames(starts.elements<int64_t>().back()),
      height(columns[kFrames].shape()[1]),
      width(columns[kFrames].shape()[2]) {
  CheckFrames(columns[kFrames]);
  const std::string wrong_action =
      ActionComplaint(columns[kActions].elements<int64_t>().first(static_cast<size_t>(num_frames)));
  if (!wrong_action.empty()) {
    throw FormatError(columns[kActions].path().string() + ": " + wrong_action);
  }
  const std::span<const int64_t> bounds = starts.elements<int64_t>();
  for (size_t e = 0; e + 1 < bounds.size(); ++e) {
    const auto begin = static_cast<size_t>(bounds[e]);
    const size_t length = static_cast<size_t>(bounds[e + 1]) - begin;
    const std::string complaint =
        FlagComplaint(columns[kTerminations].elements<uint8_t>().subspan(begin, length),
                      columns[kTruncations].elements<uint8_t>().subspan(begin, length));
    if (!complaint.empty()) {
      throw FormatError(directory.string() + ": episode " + std::to_string(e) + " " + complaint);
    }
  }
}

}  // namespace genie_env
