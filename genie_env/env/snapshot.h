#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace genie_env {

/// Rows of a VecEnv at one moment (see VecEnv::TakeSnapshot): an immutable value, cheap to copy and
/// thread-safe. It belongs to its world, not to its environment, and outlives both.
///
///     const Snapshot snapshot = env.TakeSnapshot();
///     snapshot.Save("dream.safetensors");
///     env.Restore(Snapshot::Load("dream.safetensors"));
class Snapshot {
 public:
  int64_t rows() const;
  const std::string& world() const;        ///< the name of the world that it was taken in
  const std::string& fingerprint() const;  ///< and its fingerprint; only there can it be restored

  /// Writes a safetensors file. Throws std::runtime_error when the disk does not take it.
  void Save(const std::filesystem::path& file) const;
  /// Throws FormatError naming the file and the tensor.
  static Snapshot Load(const std::filesystem::path& file);

  /// The file as bytes; `name` is what errors call them.
  std::string ToBytes() const;
  static Snapshot FromBytes(std::span<const std::byte> bytes, const std::string& name);

  /// What it holds, known to VecEnv alone (snapshot_parts.h).
  struct Parts;
  explicit Snapshot(Parts parts);
  const Parts& parts() const { return *parts_; }

 private:
  std::shared_ptr<const Parts> parts_;
};

}  // namespace genie_env
