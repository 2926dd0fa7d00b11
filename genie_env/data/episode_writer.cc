#include <unistd.h>

#include <array>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"
#include "genie_env/core/text.h"
#include "genie_env/data/episode_arrays.h"
#include "genie_env/data/episode_store.h"
#include "genie_env/io/file.h"

namespace genie_env {
namespace {

using Mode = OutputFile::Mode;

std::string SizeText(int64_t height, int64_t width) {
  return std::to_string(height) + " x " + std::to_string(width);
}

bool Exists(const std::filesystem::path& file) {
  std::error_code ignored;
  return std::filesystem::exists(file, ignored);
}

/// The schema of a recording, with the size of its frames.
EpisodeSchema CheckArguments(int64_t height, int64_t width, const std::string& meta) {
  if (height < 1 || height > kMaxRecordedSide || width < 1 || width > kMaxRecordedSide) {
    throw std::invalid_argument("frames of " + SizeText(height, width) +
                                " were asked for, expected sides of 1 to " +
                                std::to_string(kMaxRecordedSide));
  }
  try {
    EpisodeSchema schema = EpisodeSchema::Parse(meta, "meta");
    if (schema.format_version == 1) {
      schema.height = height;
      schema.width = width;
    } else if (schema.height != height || schema.width != width) {
      throw std::invalid_argument("frames of " + SizeText(height, width) +
                                  " were asked for, but meta declares " +
                                  SizeText(schema.height, schema.width));
    }
    return schema;
  } catch (const FormatError& error) {
    throw std::invalid_argument(error.what());
  }
}

/// What the lock file says of the process that holds it.
std::string Holder(const std::filesystem::path& lock) {
  std::string holder;
  std::getline(std::ifstream(lock), holder);
  return holder.empty() ? "another process" : holder.substr(0, 200);
}

/// Makes the directory where there is none, and keeps other writers away from it.
OutputFile Claim(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    throw std::runtime_error("cannot create the directory " + directory.string() + ": " +
                             error.message());
  }
  OutputFile lock(directory / ".lock", Mode::kCreate);
  if (!lock.TryLock()) {
    throw std::runtime_error(Holder(lock.path()) + " is recording into " + directory.string() +
                             ": wait until it has ended, or choose another directory");
  }
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const std::string holder = "process " + std::to_string(getpid()) + " on " + host.data();
  lock.Truncate(0);
  lock.Write(0, std::as_bytes(std::span(holder)));
  return lock;
}

NpyAppender OpenColumn(const std::filesystem::path& directory, const EpisodeColumn& column,
                       Mode mode, size_t header_bytes = kNewNpyHeaderBytes) {
  return {OutputFile(directory / column.file, mode), column.type, column.row_shape, header_bytes};
}

/// Makes an empty store. It is complete when episode_starts.npy appears, with the one entry 0.
void Create(const std::filesystem::path& directory, const EpisodeSchema& schema,
            const std::string& meta) {
  const std::vector<EpisodeColumn> columns = schema.columns();
  for (const EpisodeColumn& column : columns) {
    const std::filesystem::path file = directory / column.file;
    // A creation that was killed leaves files without rows. Files with rows are not ours.
    if (Exists(file) && std::filesystem::file_size(file) > kNewNpyHeaderBytes) {
      throw FormatError(directory.string() + " has a " + column.file + " but no " + kEpisodeStarts +
                        ": it is not a directory of episodes; choose another one");
    }
  }
  // It is written after the columns: a file without columns is not ours.
  if (Exists(directory / kEpisodeMeta) && !Exists(directory / columns[kFrames].file)) {
    throw FormatError(directory.string() + " has a " + kEpisodeMeta + " but no " +
                      columns[kFrames].file +
                      ": it is not a directory of episodes; choose another one");
  }
  for (const EpisodeColumn& column : columns) {
    NpyAppender rows = OpenColumn(directory, column, Mode::kReplace);
    rows.Truncate(0);
    rows.Sync();  // Whatever else a power loss takes, the header is there.
  }
  WriteFileAtomically(directory / kEpisodeMeta, meta);
  AtomicFile file(directory / kEpisodeStarts);
  NpyAppender starts(OutputFile(file.temporary(), Mode::kExisting), kNpyInt64, {});
  const int64_t zero = 0;
  starts.Write(0, std::as_bytes(std::span(&zero, 1)));
  starts.SetRows(1);
  file.Publish();
}

/// Copies what lies beyond the whole episodes, of which a part is lost, into a new directory within
/// the recording, whose name it returns: arrays of the same names, which continue those of the
/// recording (the starts as they were).
std::filesystem::path SetAside(const std::filesystem::path& directory,
                               const EpisodeArrays& arrays) {
  int number = 1;
  const auto aside = [&] { return directory / ("lost_" + std::to_string(number)); };
  while (!std::filesystem::create_directory(aside())) ++number;
  const auto copy = [&](const NpyArray& array, const NpyType& type, int64_t first) {
    const std::vector<int64_t> row_shape(array.shape().begin() + 1, array.shape().end());
    NpyAppender rows(OutputFile(aside() / array.path().filename(), Mode::kReplace), type,
                     row_shape);
    const MappedFile file(array.path());  // more than the header counts may be there
    const std::span<const std::byte> bytes = file.bytes().subspan(array.header_bytes());
    const int64_t row_bytes = rows.row_bytes();
    const int64_t count = std::ssize(bytes) / row_bytes - first;
    rows.Write(0, bytes.subspan(static_cast<size_t>(first * row_bytes),
                                static_cast<size_t>(count * row_bytes)));
    rows.SetRows(count);
    rows.Sync();
  };
  try {
    const std::vector<EpisodeColumn> columns = arrays.schema.columns();
    for (size_t c = 0; c < columns.size(); ++c) {
      copy(arrays.columns[c], columns[c].type, arrays.rows(c));
    }
    copy(arrays.starts, kNpyInt64, arrays.num_episodes);
  } catch (...) {  // nothing was cut yet: half a copy is of no use
    std::error_code ignored;
    std::filesystem::remove_all(aside(), ignored);
    throw;
  }
  return aside();
}

}  // namespace

struct EpisodeWriter::Impl {
  Impl(const std::filesystem::path& directory, EpisodeSchema given)
      : lock(Claim(directory)), schema(std::move(given)) {}

  void Open(const std::filesystem::path& directory, const std::string& meta) {
    if (!Exists(directory / kEpisodeStarts)) Create(directory, schema, meta);
    const EpisodeArrays arrays(directory);
    CheckSame(directory, arrays.schema);
    const std::vector<EpisodeColumn> declared = schema.columns();
    for (size_t c = 0; c < declared.size(); ++c) {
      columns.push_back(
          OpenColumn(directory, declared[c], Mode::kExisting, arrays.columns[c].header_bytes()));
    }
    columns.emplace_back(OutputFile(directory / kEpisodeStarts, Mode::kExisting), kNpyInt64,
                         std::vector<int64_t>{}, arrays.starts.header_bytes());
    num_episodes = arrays.num_episodes;
    num_frames = arrays.num_frames;
    if (!arrays.loss.empty()) {
      loss = arrays.loss + "; what is left of the others was copied to " +
             SetAside(directory, arrays).string();
    }
    DropEpisodeInFlight();
    WriteFileAtomically(directory / kEpisodeMeta, meta);
  }

  void CheckSame(const std::filesystem::path& directory, const EpisodeSchema& known) const {
    const auto refuse = [&](const std::string& holds, const std::string& asked) {
      throw std::invalid_argument(directory.string() + " holds " + holds + ", but " + asked +
                                  " were asked for: choose another directory");
    };
    if (known.height != schema.height || known.width != schema.width) {
      refuse("frames of " + SizeText(known.height, known.width),
             SizeText(schema.height, schema.width));
    }
    if (known.format_version != schema.format_version) {
      const auto text = [](const EpisodeSchema& s) {
        return "episodes of format " + std::to_string(s.format_version);
      };
      refuse(text(known), text(schema));
    }
    if (known.columns() != schema.columns()) {
      const auto text = [](const EpisodeSchema& s) {
        return (s.box ? "actions of shape " + TupleText(*s.box) : "numbered actions") +
               (s.final_frames ? " and final frames" : " without final frames");
      };
      refuse(text(known), text(schema));
    }
  }

  void Check(const EpisodeView& episode) const {
    const auto frame_bytes = static_cast<size_t>(schema.height * schema.width * 3);
    const auto action_size = static_cast<size_t>(schema.action_size());
    const size_t length =
        schema.box ? episode.box_actions.size() / action_size : episode.actions.size();
    const auto expect = [&](const char* name, size_t given, size_t expected) {
      if (given != expected) {
        throw std::invalid_argument(std::string(name) + " has " + std::to_string(given) +
                                    " elements, but " + std::to_string(length) +
                                    " actions expect " + std::to_string(expected));
      }
    };
    if (length == 0) throw std::invalid_argument("the episode is empty; record at least one step");
    expect("actions", episode.actions.size(), schema.box ? 0 : length);
    expect("box_actions", episode.box_actions.size(), schema.box ? length * action_size : 0);
    expect("frames", episode.frames.size(), length * frame_bytes);
    expect("rewards", episode.rewards.size(), length);
    expect("terminations", episode.terminations.size(), length);
    expect("truncations", episode.truncations.size(), length);
    if (episode.final_frame.size() != (schema.final_frames ? frame_bytes : 0)) {
      throw std::invalid_argument("final_frame has " + std::to_string(episode.final_frame.size()) +
                                  " elements, expected " +
                                  (schema.final_frames ? std::to_string(frame_bytes)
                                                       : "none: meta declares no final frames"));
    }
    const std::string wrong_action = ActionComplaint(schema, episode.actions, episode.box_actions);
    if (!wrong_action.empty()) throw std::invalid_argument("the episode's " + wrong_action);
    const std::string complaint = FlagComplaint(episode.terminations, episode.truncations);
    if (!complaint.empty()) throw std::invalid_argument("the episode " + complaint);
  }

  void Write(const EpisodeView& episode) {
    std::vector<std::span<const std::byte>> rows{
        std::as_bytes(episode.frames),
        schema.box ? std::as_bytes(episode.box_actions) : std::as_bytes(episode.actions),
        std::as_bytes(episode.rewards), std::as_bytes(episode.terminations),
        std::as_bytes(episode.truncations)};
    if (schema.final_frames) rows.push_back(std::as_bytes(episode.final_frame));
    const auto length = static_cast<int64_t>(episode.rewards.size()), end = num_frames + length;
    for (size_t c = 0; c < rows.size(); ++c) {
      columns[c].Write(c == kFinalFrames ? num_episodes : num_frames, rows[c]);
    }
    for (size_t c = 0; c < rows.size(); ++c) {
      columns[c].SetRows(c == kFinalFrames ? num_episodes + 1 : end);
    }
    NpyAppender& starts = columns.back();
    starts.Write(num_episodes + 1, std::as_bytes(std::span(&end, 1)));
    starts.SetRows(num_episodes + 2);  // The episode is there from here on.
    num_frames = end;
    ++num_episodes;
  }

  void DropEpisodeInFlight() {
    columns.back().Truncate(num_episodes + 1);
    for (size_t c = 0; c + 1 < columns.size(); ++c) {
      columns[c].Truncate(c == kFinalFrames ? num_episodes : num_frames);
    }
  }

  OutputFile lock;
  EpisodeSchema schema;
  std::vector<NpyAppender> columns;  // in the order of the schema's, then the starts
  int64_t num_episodes = 0;
  int64_t num_frames = 0;
  std::string loss;
};

EpisodeWriter::EpisodeWriter(const std::filesystem::path& directory, int64_t height, int64_t width,
                             const std::string& meta) {
  impl_ = std::make_unique<Impl>(directory, CheckArguments(height, width, meta));
  impl_->Open(directory, meta);
}
EpisodeWriter::~EpisodeWriter() = default;
EpisodeWriter::EpisodeWriter(EpisodeWriter&&) noexcept = default;
EpisodeWriter& EpisodeWriter::operator=(EpisodeWriter&&) noexcept = default;

void EpisodeWriter::Append(const EpisodeView& episode) {
  impl_->Check(episode);
  try {
    impl_->Write(episode);
  } catch (const std::runtime_error& error) {
    try {
      impl_->DropEpisodeInFlight();
    } catch (const std::runtime_error&) {
      // Readers ignore the rows that are left over, and the next Append overwrites them.
    }
    throw std::runtime_error(std::string(error.what()) + ". The episodes recorded before (" +
                             std::to_string(impl_->num_episodes) +
                             ") are safe: make room on the disk, then go on recording into the "
                             "same directory");
  }
}

int64_t EpisodeWriter::num_episodes() const { return impl_->num_episodes; }
int64_t EpisodeWriter::num_frames() const { return impl_->num_frames; }
const std::optional<std::vector<int64_t>>& EpisodeWriter::box() const { return impl_->schema.box; }
const std::string& EpisodeWriter::loss() const { return impl_->loss; }

}  // namespace genie_env
