#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace genie_env {

/// A regular file mapped into memory for reading. Immutable; move-only. Replace such files by
/// renaming, never shorten them: reading after a new end kills the process.
class MappedFile {
 public:
  /// Throws FormatError naming the file where it is missing, unreadable or not a regular file.
  explicit MappedFile(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }

  /// Whether the file of that name is the one that was mapped.
  bool IsStill(const std::filesystem::path& file) const;

 private:
  std::span<const std::byte> bytes_;
  uint64_t device_ = 0, inode_ = 0;
};

/// A file open for writing at given offsets. Move-only; not thread-safe. Every failure throws
/// std::system_error (a std::runtime_error) naming the file and the system's reason.
class OutputFile {
 public:
  enum class Mode { kExisting, kCreate, kReplace };

  OutputFile(const std::filesystem::path& file, Mode mode);
  ~OutputFile();
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }

  /// Writes all of `bytes`, or throws saying how many of them the disk did not take.
  void Write(int64_t offset, std::span<const std::byte> bytes);

  /// Cuts the file to `size` bytes.
  void Truncate(int64_t size);

  /// Waits until all bytes are on the disk (fsync).
  void Sync();

  /// Takes the lock of this file's writers; false when another writer holds it. The lock is held
  /// until the file is closed or the process ends.
  bool TryLock();

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// A file that readers see whole or not at all: it is written under a temporary name in the same
/// directory, then renamed. No other writer, in this process or another, has that name. Every
/// failure throws std::system_error and leaves an old file as it was. Not thread-safe.
class AtomicFile {
 public:
  /// Creates the temporary file, empty. The directory must exist.
  explicit AtomicFile(std::filesystem::path file);
  /// Removes the temporary file where it was not published.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const std::filesystem::path& temporary() const { return temporary_; }

  /// Waits until the temporary file is on the disk, and renames it to path(). To be called once.
  void Publish();

 private:
  std::filesystem::path path_, temporary_;
  bool published_ = false;
};

/// Writes `pieces`, one after another, as an AtomicFile.
void WriteFileAtomically(const std::filesystem::path& file,
                         std::span<const std::span<const std::byte>> pieces);
void WriteFileAtomically(const std::filesystem::path& file, std::string_view text);

}  // namespace genie_env
