#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>

namespace genie_env {

/// A zip archive without compression, as torch's PyTorchFileWriter makes it (Python's zipfile,
/// too). Immutable.
///
/// There is one way to read such an archive, so that other readers of the same bytes find the same
/// members: they lie in the order of the central directory, one right after another from the first
/// byte on; both headers of a member agree; no two names are equal, whatever the case of their
/// letters; and the end of the directory ends the file. Files above 4 GiB are zip64.
class ZipArchive {
 public:
  using Members = std::map<std::string, std::span<const std::byte>>;

  /// Checks everything, the CRC-32 of every member included, before any member can be seen. `bytes`
  /// are those of the file, and must outlive the views of members(); `name` is the file's name in
  /// errors. `between_pieces` is called some ten times a second meanwhile, and may throw. Throws
  /// FormatError naming the file and the member: also where a member is compressed or encrypted,
  /// and where a name is not a relative path of printable ASCII without "." and ".." in it.
  ZipArchive(std::span<const std::byte> bytes, const std::string& name,
             const std::function<void()>& between_pieces = nullptr);

  /// The bytes of every member, by name. At most 65,536.
  const Members& members() const { return members_; }

 private:
  Members members_;
};

}  // namespace genie_env
