#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace genie_env {

/// All that moves in a world: named tensors whose first dimension is the row. Their addresses stay
/// fixed for the life of the state. Move-only, because tensor handles alias: copies are asked for
/// by name, so that their cost shows. Thread-compatible.
class WorldState {
 public:
  struct Field {
    std::string name;
    at::Tensor tensor;  ///< [N, ...]
  };

  /// Takes ownership; every tensor must have the same first dimension.
  explicit WorldState(std::vector<Field> fields);

  WorldState(WorldState&&) noexcept = default;
  WorldState& operator=(WorldState&&) noexcept = default;
  WorldState(const WorldState&) = delete;
  WorldState& operator=(const WorldState&) = delete;

  int64_t rows() const;
  const std::vector<Field>& fields() const { return fields_; }
  const at::Tensor& operator[](size_t field) const { return fields_[field].tensor; }

  /// A deep copy of all rows.
  WorldState Clone() const;

  /// A deep copy of the given rows (int64 [R]), in that order; a row may be named twice.
  WorldState Select(const at::Tensor& rows) const;

  /// dst[dst_rows[i]] = src[src_rows[i]] (int64 [R] each). Both states come from the same world.
  static void CopyRows(const WorldState& src, const at::Tensor& src_rows, WorldState& dst,
                       const at::Tensor& dst_rows);

 private:
  std::vector<Field> fields_;
};

}  // namespace genie_env
