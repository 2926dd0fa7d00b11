#include <unistd.h>

#include <array>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/core/limits.h"
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

/// What `meta` declares. Throws std::invalid_argument where it is not a meta.json, or not of frames
/// of this size.
EpisodeSchema CheckArguments(int64_t height, int64_t width, const std::string& meta) {
  if (height < 1 || height > kMaxRecordedSide || width < 1 || width > kMaxRecordedSide) {
    throw std::invalid_argument("frames of " + SizeText(height, width) +
                                " were asked for, expected sides of 1 to " +
                                std::to_string(kMaxRecordedSide));
  }
  try {
    EpisodeSchema schema = EpisodeSchema::Parse(meta, "meta");
    const std::vector<int64_t> declared = schema.columns[kFrames].row_shape;
    schema.SetFrameSize(height, width);
    if (schema.format_version > 1 && declared != schema.columns[kFrames].row_shape) {
      throw std::invalid_argument("meta declares frames of " + SizeText(declared[0], declared[1]) +
                                  ", but " + SizeText(height, width) + " were asked for");
    }
    return schema;
  } catch (const FormatError& error) {
    throw std::invalid_argument(error.what());
  }
}

/// Throws std::invalid_argument where the episodes in the directory cannot go on as `wanted` says.
void CheckGoesOn(const std::filesystem::path& directory, const EpisodeSchema& known,
                 const EpisodeSchema& wanted) {
  const std::string other = ": choose another directory";
  if (known.format_version != wanted.format_version) {
    throw std::invalid_argument(directory.string() + " holds episodes of format " +
                                std::to_string(known.format_version) + ", but meta is of format " +
                                std::to_string(wanted.format_version) + other);
  }
  const std::vector<int64_t>& size = known.columns[kFrames].row_shape;
  const std::vector<int64_t>& asked = wanted.columns[kFrames].row_shape;
  if (size != asked) {
    throw std::invalid_argument(directory.string() + " holds frames of " +
                                SizeText(size[0], size[1]) + ", but " +
                                SizeText(asked[0], asked[1]) + " were asked for" + other);
  }
  if (known != wanted) {
    throw std::invalid_argument(directory.string() +
                                " holds episodes whose meta.json declares other columns or actions "
                                "than meta" +
                                other);
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

/// The arrays of a recording that a writer extends, but for the starts.
std::vector<EpisodeColumn> AllColumns(const EpisodeSchema& schema) {
  std::vector<EpisodeColumn> all(schema.columns.begin(), schema.columns.end());
  if (schema.has_final_frames) all.push_back(schema.final_frames());
  return all;
}

NpyAppender OpenColumn(const std::filesystem::path& directory, const EpisodeColumn& column,
                       Mode mode, size_t header_bytes = kNewNpyHeaderBytes) {
  return {OutputFile(directory / column.file(), mode), column.type, column.row_shape, header_bytes};
}

/// Makes an empty store. It is complete when episode_starts.npy appears, with the one entry 0.
void Create(const std::filesystem::path& directory, const EpisodeSchema& schema,
            const std::string& meta) {
  const std::vector<EpisodeColumn> columns = AllColumns(schema);
  for (const EpisodeColumn& column : columns) {
    const std::filesystem::path file = directory / column.file();
    // A creation that was killed leaves files without rows. Files with rows are not ours.
    if (Exists(file) && std::filesystem::file_size(file) > kNewNpyHeaderBytes) {
      throw FormatError(directory.string() + " has a " + column.file() + " but no " +
                        kEpisodeStarts + ": it is not a directory of episodes; choose another one");
    }
  }
  // It is written after the columns: a file without columns is not ours.
  const std::string frames = columns[kFrames].file();
  if (Exists(directory / kEpisodeMeta) && !Exists(directory / frames)) {
    throw FormatError(directory.string() + " has a " + kEpisodeMeta + " but no " + frames +
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

/// Makes of a recording without episodes what a creation that was killed leaves: arrays without
/// rows and no starts.
void Empty(const std::filesystem::path& directory, const EpisodeArrays& arrays) {
  for (size_t c = 0; c < kEpisodeColumns; ++c) {
    OpenColumn(directory, arrays.schema.columns[c], Mode::kExisting,
               arrays.columns[c].header_bytes())
        .Truncate(0);
  }
  if (arrays.final_frames) {
    OpenColumn(directory, arrays.schema.final_frames(), Mode::kExisting,
               arrays.final_frames->header_bytes())
        .Truncate(0);
  }
  std::filesystem::remove(directory / kEpisodeStarts);
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
    for (size_t c = 0; c < kEpisodeColumns; ++c) {
      copy(arrays.columns[c], arrays.schema.columns[c].type, arrays.num_frames);
    }
    if (arrays.final_frames) copy(*arrays.final_frames, kNpyUInt8, arrays.num_episodes);
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
  Impl(const std::filesystem::path& directory, EpisodeSchema wanted)
      : lock(Claim(directory)), schema(std::move(wanted)) {}

  void Open(const std::filesystem::path& directory, const std::string& meta) {
    if (!Exists(directory / kEpisodeStarts)) Create(directory, schema, meta);
    std::optional<EpisodeArrays> there(std::in_place, directory);
    if (there->num_episodes == 0 && there->schema != schema) {
      Empty(directory, *there);
      Create(directory, schema, meta);
      there.emplace(directory);
    }
    const EpisodeArrays& arrays = *there;
    CheckGoesOn(directory, arrays.schema, schema);
    const auto open = [&](const EpisodeColumn& column, const NpyArray& array) {
      return OpenColumn(directory, column, Mode::kExisting, array.header_bytes());
    };
    for (size_t c = 0; c < kEpisodeColumns; ++c) {
      columns.push_back(open(schema.columns[c], arrays.columns[c]));
    }
    if (arrays.final_frames) {
      final_frames.emplace(open(schema.final_frames(), *arrays.final_frames));
    }
    starts.emplace(OutputFile(directory / kEpisodeStarts, Mode::kExisting), kNpyInt64,
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

  int64_t action_width() const { return ElementsOf(schema.columns[kActions].row_shape); }

  size_t Steps(const EpisodeView& episode) const {
    if (!schema.box()) return episode.actions.size();
    return episode.box_actions.size() / static_cast<size_t>(action_width());
  }

  void Check(const EpisodeView& episode) const {
    const size_t length = Steps(episode);
    const auto frame_bytes = static_cast<size_t>(ElementsOf(schema.columns[kFrames].row_shape));
    const auto expect = [&](const char* name, size_t given, size_t expected) {
      if (given != expected) {
        throw std::invalid_argument(std::string(name) + " has " + std::to_string(given) +
                                    " elements, but " + std::to_string(length) +
                                    " actions expect " + std::to_string(expected));
      }
    };
    if (length == 0) throw std::invalid_argument("the episode is empty; record at least one step");
    const auto width = static_cast<size_t>(action_width());
    expect("actions", episode.actions.size(), schema.box() ? 0 : length);
    expect("box_actions", episode.box_actions.size(), schema.box() ? length * width : 0);
    expect("frames", episode.frames.size(), length * frame_bytes);
    expect("rewards", episode.rewards.size(), length);
    expect("terminations", episode.terminations.size(), length);
    expect("truncations", episode.truncations.size(), length);
    expect("final_frame", episode.final_frame.size(), schema.has_final_frames ? frame_bytes : 0);
    const std::string wrong_action = schema.box()
                                         ? schema.actions.Complaint(episode.box_actions, width)
                                         : schema.actions.Complaint(episode.actions);
    if (!wrong_action.empty()) throw std::invalid_argument("the episode's " + wrong_action);
    const std::string complaint = FlagComplaint(episode.terminations, episode.truncations);
    if (!complaint.empty()) throw std::invalid_argument("the episode " + complaint);
  }

  void Write(const EpisodeView& episode) {
    const std::array<std::span<const std::byte>, kEpisodeColumns> rows{
        std::as_bytes(episode.frames),
        schema.box() ? std::as_bytes(episode.box_actions) : std::as_bytes(episode.actions),
        std::as_bytes(episode.rewards), std::as_bytes(episode.terminations),
        std::as_bytes(episode.truncations)};
    const int64_t end = num_frames + static_cast<int64_t>(Steps(episode));
    for (size_t c = 0; c < kEpisodeColumns; ++c) columns[c].Write(num_frames, rows[c]);
    if (final_frames) final_frames->Write(num_episodes, std::as_bytes(episode.final_frame));
    for (size_t c = 0; c < kEpisodeColumns; ++c) columns[c].SetRows(end);
    if (final_frames) final_frames->SetRows(num_episodes + 1);
    starts->Write(num_episodes + 1, std::as_bytes(std::span(&end, 1)));
    starts->SetRows(num_episodes + 2);  // The episode is there from here on.
    num_frames = end;
    ++num_episodes;
  }

  void DropEpisodeInFlight() {
    starts->Truncate(num_episodes + 1);
    for (NpyAppender& column : columns) column.Truncate(num_frames);
    if (final_frames) final_frames->Truncate(num_episodes);
  }

  OutputFile lock;
  EpisodeSchema schema;
  std::vector<NpyAppender> columns;  // in the order of the schema's
  std::optional<NpyAppender> final_frames;
  std::optional<NpyAppender> starts;
  int64_t num_episodes = 0;
  int64_t num_frames = 0;
  std::string loss;
};

EpisodeWriter::EpisodeWriter(const std::filesystem::path& directory, int64_t height, int64_t width,
                             const std::string& meta) {
  EpisodeSchema schema = CheckArguments(height, width, meta);
  impl_ = std::make_unique<Impl>(directory, std::move(schema));
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
bool EpisodeWriter::has_box_actions() const { return impl_->schema.box(); }
const std::vector<int64_t>& EpisodeWriter::action_shape() const {
  return impl_->schema.columns[kActions].row_shape;
}
bool EpisodeWriter::has_final_frames() const { return impl_->schema.has_final_frames; }
const std::string& EpisodeWriter::loss() const { return impl_->loss; }

}  // namespace genie_env
