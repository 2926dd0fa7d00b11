#include "genie_env/io/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>
#include <utility>

#include "genie_env/core/error.h"

namespace genie_env {
namespace {

std::string Reason(int error) { return std::generic_category().message(error); }

// Throws `what` with the reason of the last system call.
[[noreturn]] void Fail(const std::string& what, int error = errno) {
  throw std::system_error(error, std::generic_category(), what);
}

int OpenDescriptor(const std::filesystem::path& file, OutputFile::Mode mode) {
  int flags = O_RDWR | O_CLOEXEC;
  if (mode != OutputFile::Mode::kExisting) flags |= O_CREAT;
  if (mode == OutputFile::Mode::kReplace) flags |= O_TRUNC;
  const int descriptor = open(file.c_str(), flags, 0666);
  if (descriptor < 0) {
    Fail("cannot open " + file.string() + " for writing");
  }
  return descriptor;
}

// Creates an empty file beside `file`, under a name that no other writer has. Process numbers tell
// the writers of one machine apart; those of others, and files left by a kill, are in the way of
// O_EXCL, and the next name is tried.
std::filesystem::path CreateTemporary(const std::filesystem::path& file) {
  static std::atomic<unsigned> count = 0;
  while (true) {
    std::filesystem::path name = file;
    name += ".genie_env-" + std::to_string(getpid()) + "-" + std::to_string(count++) + ".tmp";
    const int descriptor = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0) {
      close(descriptor);
      return name;
    }
    if (errno != EEXIST) Fail("cannot create " + name.string());
  }
}

void SyncDirectory(const std::filesystem::path& directory) {
  const int descriptor = open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;  // The file itself is safe; not every directory can be opened.
  fsync(descriptor);
  close(descriptor);
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& file) {
  // Without O_NONBLOCK, opening a pipe would wait for its writer.
  const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw FormatError(file.string() + ": " + Reason(errno));
  struct stat status {};
  void* address = nullptr;
  int error = 0;
  if (fstat(descriptor, &status) != 0) {
    error = errno;
  } else if (S_ISREG(status.st_mode) && status.st_size > 0) {
    address =
        mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_SHARED, descriptor, 0);
    if (address == MAP_FAILED) error = errno;
  }
  close(descriptor);
  if (error != 0) throw FormatError(file.string() + " cannot be mapped: " + Reason(error));
  if (!S_ISREG(status.st_mode)) throw FormatError(file.string() + " is not a regular file");
  device_ = status.st_dev;
  inode_ = status.st_ino;
  if (address != nullptr) {
    bytes_ = {static_cast<const std::byte*>(address), static_cast<size_t>(status.st_size)};
  }
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), device_(other.device_), inode_(other.inode_) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  return *this;
}

bool MappedFile::IsStill(const std::filesystem::path& file) const {
  struct stat status {};
  return stat(file.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_;
}

OutputFile::OutputFile(const std::filesystem::path& file, Mode mode)
    : path_(file), descriptor_(OpenDescriptor(file, mode)) {}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

void OutputFile::Write(int64_t offset, std::span<const std::byte> bytes) {
  const size_t wanted = bytes.size();
  while (!bytes.empty()) {
    const ssize_t written = pwrite(descriptor_, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const int error = written < 0 ? errno : ENOSPC;
      Fail("cannot write " + path_.string() + " (" + std::to_string(bytes.size()) + " of " +
               std::to_string(wanted) + " bytes are missing)",
           error);
    }
    offset += written;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void OutputFile::Truncate(int64_t size) {
  if (ftruncate(descriptor_, size) != 0) Fail("cannot set the length of " + path_.string());
}

void OutputFile::Sync() {
  if (fsync(descriptor_) != 0) Fail("cannot write " + path_.string());
}

bool OutputFile::TryLock() {
  if (flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  Fail("cannot lock " + path_.string());
}

AtomicFile::AtomicFile(std::filesystem::path file)
    : path_(std::move(file)), temporary_(CreateTemporary(path_)) {}

AtomicFile::~AtomicFile() {
  std::error_code ignored;
  if (!published_) std::filesystem::remove(temporary_, ignored);
}

void AtomicFile::Publish() {
  OutputFile(temporary_, OutputFile::Mode::kExisting).Sync();
  if (rename(temporary_.c_str(), path_.c_str()) != 0) Fail("cannot replace " + path_.string());
  published_ = true;
  SyncDirectory(path_.parent_path());
}

void WriteFileAtomically(const std::filesystem::path& file,
                         std::span<const std::span<const std::byte>> pieces) {
  AtomicFile atomic(file);
  OutputFile output(atomic.temporary(), OutputFile::Mode::kExisting);
  int64_t offset = 0;
  for (const std::span<const std::byte> piece : pieces) {
    output.Write(offset, piece);
    offset += static_cast<int64_t>(piece.size());
  }
  atomic.Publish();
}

void WriteFileAtomically(const std::filesystem::path& file, std::string_view text) {
  const std::span<const std::byte> piece = std::as_bytes(std::span(text));
  WriteFileAtomically(file, std::span(&piece, 1));
}

}  // namespace genie_env
