#include "genie_env/data/episode_arrays.h"

#include <algorithm>
#include <cmath>
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

/// Maps the columns, of which the first is the frames; fills in their size where the schema does
/// not say it.
std::vector<NpyArray> MapColumns(const std::filesystem::path& directory, EpisodeSchema& schema) {
  std::vector<NpyArray> mapped;
  for (const EpisodeColumn& column : schema.columns()) {
    mapped.emplace_back(directory / column.file, column.type, 1 + column.row_shape.size());
    const std::vector<int64_t>& shape = mapped.back().shape();
    if (schema.format_version == 1) continue;
    if (std::ranges::equal(column.row_shape, std::span(shape).subspan(1))) continue;
    throw FormatError(mapped.back().path().string() + " has the shape " + TupleText(shape) +
                      ", but its rows are " + TupleText(column.row_shape) + " as " + kEpisodeMeta +
                      " says: bring the file back from a copy");
  }
  schema.height = mapped[kFrames].shape()[1];
  schema.width = mapped[kFrames].shape()[2];
  return mapped;
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
  for (size_t c = 0; c < arrays.columns.size(); ++c) {
    const NpyArray& column = arrays.columns[c];
    const int64_t promised = c == kFinalFrames ? static_cast<int64_t>(next) : end;
    if (column.rows() >= promised) continue;
    return column.path().string() + " has " + std::to_string(column.rows()) + " rows, but " +
           kEpisodeStarts + " promises " + std::to_string(promised) + " for episode " +
           std::to_string(episode);
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

std::string ActionComplaint(const EpisodeSchema& schema, std::span<const int64_t> numbered,
                            std::span<const float> floats) {
  if (schema.box) {
    const auto found = std::ranges::find_if(floats, [](float x) { return !std::isfinite(x); });
    if (found == floats.end()) return {};
    return "action " + std::to_string((found - floats.begin()) / schema.action_size()) +
           " holds a number that is not finite";
  }
  if (schema.format_version > 1) return {};
  const auto found = std::ranges::find_if(numbered, [](int64_t action) { return action < 0; });
  if (found == numbered.end()) return {};
  return "action " + std::to_string(found - numbered.begin()) + " is " + std::to_string(*found) +
         ", expected 0 or more";
}

EpisodeArrays::EpisodeArrays(const std::filesystem::path& directory)
    // The format version is checked first: another may have other files. Then the starts are read:
    // rows that a writer adds later are after the frames they count.
    : meta(ReadMeta(directory)),
      schema(EpisodeSchema::Parse(meta, (directory / kEpisodeMeta).string())),
      starts(directory / kEpisodeStarts, kNpyInt64, 1),
      columns(MapColumns(directory, schema)) {
  CheckFrames(columns[kFrames]);
  CountWholeEpisodes(directory, *this);
  const auto count = static_cast<size_t>(num_frames);
  const NpyArray& actions = columns[kActions];
  const std::string wrong_action =
      schema.box
          ? ActionComplaint(
                schema, {},
                actions.elements<float>().first(count * static_cast<size_t>(schema.action_size())))
          : ActionComplaint(schema, actions.elements<int64_t>().first(count), {});
  if (!wrong_action.empty()) throw FormatError(actions.path().string() + ": " + wrong_action);
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
