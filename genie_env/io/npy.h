#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "genie_env/io/file.h"

namespace genie_env {

// NumPy's .npy files (numpy.lib.format, versions 1.0 to 3.0): a header that is a Python dictionary
// as text, then the elements. Row-major arrays only; "rows" are along the first dimension.

/// An element type: its code in the header, its name in NumPy, its bytes.
struct NpyType {
  std::string_view code;
  std::string_view name;
  size_t size;
};
inline constexpr NpyType kNpyBool{"|b1", "bool", 1};
inline constexpr NpyType kNpyUInt8{"|u1", "uint8", 1};
inline constexpr NpyType kNpyInt64{"<i8", "int64", 8};
inline constexpr NpyType kNpyFloat32{"<f4", "float32", 4};

/// An array in a file, mapped into memory. Immutable.
class NpyArray {
 public:
  /// Throws FormatError naming the file unless it holds `dimensions` dimensions of `type`.
  NpyArray(const std::filesystem::path& file, const NpyType& type, size_t dimensions);

  const std::filesystem::path& path() const { return path_; }
  const std::vector<int64_t>& shape() const { return shape_; }  ///< as the header says
  /// The whole rows that the header counts and the file holds. After a kill, a file may hold more
  /// rows than its header counts, and after a power loss fewer.
  int64_t rows() const { return rows_; }
  size_t header_bytes() const { return header_bytes_; }

  /// The elements of these rows; T must be as wide as the type.
  template <typename T>
  std::span<const T> elements() const {
    return {reinterpret_cast<const T*>(data_.data()), data_.size() / sizeof(T)};
  }

 private:
  struct Header {
    size_t bytes = 0;
    std::string type;
    std::vector<int64_t> shape;
  };
  static Header ReadHeader(const std::filesystem::path& file);
  NpyArray(const std::filesystem::path& file, const Header& header, const NpyType& type,
           size_t dimensions);

  std::filesystem::path path_;
  MappedFile file_;
  std::vector<int64_t> shape_;
  int64_t rows_ = 0;
  size_t header_bytes_ = 0;
  std::span<const std::byte> data_;
};

/// Bytes of the header that a new array gets: room for any number of rows.
inline constexpr size_t kNewNpyHeaderBytes = 128;

/// An array in a file that grows by rows. New rows are first written after the last one; they count
/// when SetRows has overwritten the header in place, which a kill cannot interrupt halfway.
/// Failures throw std::runtime_error. Not thread-safe.
class NpyAppender {
 public:
  /// `row_shape` is the shape without its first number. A new array begins with Truncate(0). Throws
  /// FormatError where a header of `header_bytes` is too short for the largest number of rows.
  NpyAppender(OutputFile file, const NpyType& type, std::vector<int64_t> row_shape,
              size_t header_bytes = kNewNpyHeaderBytes);

  /// Writes whole rows from row number `first` on.
  void Write(int64_t first, std::span<const std::byte> rows);

  void SetRows(int64_t rows);

  /// Removes the rows from number `rows` on from the file.
  void Truncate(int64_t rows);

  int64_t row_bytes() const { return row_bytes_; }

  /// Waits until all rows are on the disk.
  void Sync() { file_.Sync(); }

 private:
  int64_t Offset(int64_t row) const;

  OutputFile file_;
  NpyType type_;
  std::vector<int64_t> row_shape_;
  int64_t row_bytes_;
  size_t header_bytes_;
};

}  // namespace genie_env
