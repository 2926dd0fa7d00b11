#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace genie_env {

enum class StoredType { kBool, kUInt8, kInt64, kFloat16, kBFloat16, kFloat32, kFloat64 };

/// Bytes of one element.
size_t SizeOf(StoredType type);

/// One tensor of a file: row-major, little-endian bytes that the view does not own. Files by other
/// programs may not align them to their type.
struct TensorView {
  StoredType type = StoredType::kFloat32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

/// A safetensors file mapped into memory; its views live as long as it does. Immutable. Its header
/// may have 16 MiB, and a tensor 16 dimensions.
class SafetensorsFile {
 public:
  /// Maps and checks the whole header before any tensor can be seen. Throws FormatError naming the
  /// file and the tensor.
  explicit SafetensorsFile(const std::filesystem::path& file);

  /// Checks the bytes of a file, which must outlive this object. `name` is the file's name in
  /// errors.
  SafetensorsFile(std::span<const std::byte> bytes, const std::string& name);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  const std::map<std::string, TensorView>& tensors() const;
  const std::map<std::string, std::string>& metadata() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Writes the file under a temporary name and renames it: a reader never sees a part of it. Throws
/// std::runtime_error when it cannot be written.
void WriteSafetensors(const std::filesystem::path& file,
                      const std::map<std::string, TensorView>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

/// The bytes that WriteSafetensors writes.
std::string SafetensorsBytes(const std::map<std::string, TensorView>& tensors,
                             const std::map<std::string, std::string>& metadata = {});

}  // namespace genie_env
