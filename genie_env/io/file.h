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

 private:
  std::span<const std::byte> bytes_;
};

/// A file open for writing at given offsets. Move-only; not thread-safe. Every failure throws
/// std::runtime_error naming the file and the system's reason.
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

/// Writes `pieces`, one after another, under a temporary name, waits until they are on the disk,
/// and renames the file: a reader sees the old file or the new one, never a part of one. Throws
/// std::runtime_error and leaves an old file as it was.
void WriteFileAtomically(const std::filesystem::path& file,
                         std::span<const std::span<const std::byte>> pieces);
void WriteFileAtomically(const std::filesystem::path& file, std::string_view text);

}  // namespace genie_env
