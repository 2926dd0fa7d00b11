#include "genie_env/data/episode_arrays.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"
#include "genie_env/core/text.h"
#include "genie_env/io/file.h"

namespace genie_env {
namespace {

std::string ReadMeta(const std::filesystem::path& directory) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    throw FormatError(directory.string() + " is not a directory of episodes: " +
                      (error ? error.message() : "it is a file"));
  }
  if (!std::filesystem::exists(directory / kEpisodeStarts, error)) {
    throw FormatError(directory.string() + " is not a directory of episodes: it has no " +
                      kEpisodeStarts);
  }
  const std::filesystem::path file = directory / kEpisodeMeta;
  const MappedFile mapped(file);
  std::string text(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
  return text;
}

NpyArray MapColumn(const std::filesystem::path& directory, const EpisodeColumn& column) {
  const bool pictures = column.type.name == kNpyUInt8.name;
  NpyArray array(directory / column.file(), column.type,
                 pictures ? 4 : 1 + column.row_shape.size());
  const std::vector<int64_t> row_shape(array.shape().begin() + 1, array.shape().end());
  // Format 1 does not declare the size of its frames.
  if (!(pictures && column.row_shape.empty()) && row_shape != column.row_shape) {
    throw FormatError(array.path().string() + " holds rows of the shape " + TupleText(row_shape) +
                      ", but " + kEpisodeMeta + " declares " + TupleText(column.row_shape));
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

// Why an episode is not whole, as a power loss or an incomplete copy leaves it; empty where it is.
// What a file system has not written yet is zeros, or not there. Throws FormatError on starts that
// are neither.
std::string WhyNotWhole(const EpisodeArrays& arrays, size_t episode) {
  const std::span<const int64_t> starts = arrays.starts.elements<int64_t>();
  const std::string name = arrays.starts.path().string();
  const size_t next = episode + 1;
  if (next >= starts.size()) {
    return name + " has " + std::to_string(starts.size()) + " of " +
           std::to_string(arrays.starts.shape()[0]) + " entries";
  }
  const int64_t begin = starts[episode], end = starts[next];
  if (end == 0) return name + " has zeros from entry " + std::to_string(next) + " on";
  if (end <= begin) {
    throw FormatError(name + ": entry " + std::to_string(next) + " is " + std::to_string(end) +
                      ", not more than the one before it, " + std::to_string(begin));
  }
  const auto too_short = [&](const NpyArray& column, int64_t promised) -> std::string {
    if (column.rows() >= promised) return {};
    return column.path().string() + " has " + std::to_string(column.rows()) + " rows, but " +
           kEpisodeStarts + " promises " + std::to_string(promised) + " for episode " +
           std::to_string(episode);
  };
  for (const NpyArray& column : arrays.columns) {
    if (std::string why = too_short(column, end); !why.empty()) return why;
  }
  if (arrays.final_frames) {
    std::string why = too_short(*arrays.final_frames, static_cast<int64_t>(next));
    if (!why.empty()) return why;
  }
  const auto has_flags = [&](size_t column) {
    const auto flags = arrays.columns[column].elements<uint8_t>().subspan(
        static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    return std::ranges::any_of(flags, [](uint8_t flag) { return flag != 0; });
  };
  if (has_flags(kTerminations) || has_flags(kTruncations)) return {};
  return "episode " + std::to_string(episode) + " has no end flag";
}

// Finds the longest run of whole episodes from the first on.
void CountWholeEpisodes(const std::filesystem::path& directory, EpisodeArrays& arrays) {
  const std::span<const int64_t> starts = arrays.starts.elements<int64_t>();
  if (starts.empty() || starts[0] != 0) {
    throw FormatError(arrays.starts.path().string() + " does not begin with 0");
  }
  const int64_t promised = arrays.starts.shape()[0] - 1;
  std::string why;
  size_t whole = 0;
  while (std::cmp_less(whole, promised) && (why = WhyNotWhole(arrays, whole)).empty()) ++whole;
  arrays.num_episodes = static_cast<int64_t>(whole);
  arrays.num_frames = starts[whole];
  if (why.empty()) return;
  if (whole == 0) throw FormatError(why + ": bring the file back from a copy");
  arrays.loss = directory.string() + ": " + std::to_string(promised - arrays.num_episodes) +
                " of " + std::to_string(promised) +
                " episodes are lost, as after a power loss or in an incomplete copy: " + why +
                "; the first " + std::to_string(whole) + " are whole";
}

/// The error in the actions of the whole episodes, as text.
std::string WrongAction(const EpisodeArrays& arrays) {
  const auto count = static_cast<size_t>(arrays.num_frames);
  const NpyArray& column = arrays.columns[kActions];
  const ActionRule& rule = arrays.schema.actions;
  if (!arrays.schema.box()) return rule.Complaint(column.elements<int64_t>().first(count));
  const auto width = static_cast<size_t>(ElementsOf(arrays.schema.columns[kActions].row_shape));
  return rule.Complaint(column.elements<float>().first(count * width), width);
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

EpisodeArrays::EpisodeArrays(const std::filesystem::path& directory)
    // The format version is checked first: another may have other files. Then the starts are read:
    // rows that a writer adds later are after the frames they count.
    : meta(ReadMeta(directory)),
      schema(EpisodeSchema::Parse(meta, (directory / kEpisodeMeta).string())),
      starts(directory / kEpisodeStarts, kNpyInt64, 1),
      columns{MapColumn(directory, schema.columns[kFrames]),
              MapColumn(directory, schema.columns[kActions]),
              MapColumn(directory, schema.columns[kRewards]),
              MapColumn(directory, schema.columns[kTerminations]),
              MapColumn(directory, schema.columns[kTruncations])},
      num_episodes(0),
      num_frames(0) {
  CheckFrames(columns[kFrames]);
  schema.SetFrameSize(columns[kFrames].shape()[1], columns[kFrames].shape()[2]);
  if (schema.has_final_frames) final_frames = MapColumn(directory, schema.final_frames());
  CountWholeEpisodes(directory, *this);
  const std::string wrong_action = WrongAction(*this);
  if (!wrong_action.empty()) {
    throw FormatError(columns[kActions].path().string() + ": " + wrong_action);
  }
  const std::span<const int64_t> bounds = starts.elements<int64_t>();
  for (size_t e = 0; e < static_cast<size_t>(num_episodes); ++e) {
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
