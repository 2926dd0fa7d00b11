#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <type_traits>

#include "genie_env/kernels/cpu/strip_product.h"

namespace genie_env {

// Matrix products on the CPU of a few rows with packed weights. `Element` is the type of their
// inputs, float or at::BFloat16; they accumulate in float32. A row's bits depend on neither the
// number of rows nor the row's place among them. All functions are thread-safe.

template <typename Element>
inline constexpr bool kIsBf16 = std::is_same_v<Element, at::BFloat16>;

template <typename Element>
inline constexpr at::ScalarType kTypeOf = kIsBf16<Element> ? at::kBFloat16 : at::kFloat;

/// The type that stands for Element in kernels/: a bfloat16 is its bits.
template <typename Element>
using BitsOf = std::conditional_t<kIsBf16<Element>, uint16_t, float>;

/// The number of rows that a product computes for `rows` rows. oneDNN compiles a kernel for every
/// number of rows; rounding up keeps them few.
int64_t ProductRows(int64_t rows);

/// Pads one dimension with zeros at its end, up to `size`.
at::Tensor PadTo(const at::Tensor& tensor, int64_t dimension, int64_t size);

/// c = a b. a: [rows, inner], a_stride numbers from one row to the next; b: [inner, columns], in
/// bfloat16 with pairs of rows interleaved, [inner / 2, columns, 2]; c: [rows, columns] with
/// c_stride. rows: one of few values, see ProductRows. inner: even in bfloat16.
void Multiply(int64_t rows, int64_t columns, int64_t inner, const float* a, int64_t a_stride,
              const float* b, float* c, int64_t c_stride);
void Multiply(int64_t rows, int64_t columns, int64_t inner, const at::BFloat16* a, int64_t a_stride,
              const at::BFloat16* b, float* c, int64_t c_stride);

/// The same of float32 numbers with b_stride from one row of b to the next; `add`: c += a b. Rows
/// of b may overlap.
void MultiplyStrided(int64_t rows, int64_t columns, int64_t inner, const float* a, int64_t a_stride,
                     const float* b, int64_t b_stride, float* c, int64_t c_stride, bool add);

/// Weights of a frozen layer, packed once in panels of columns. Immutable.
template <typename Element>
class PackedPanels {
 public:
  PackedPanels() = default;

  /// weight: float32 [panels, columns, inner] on the CPU. inner: even in bfloat16. streamed: the
  /// panels are multiplied one after another with a few rows each, so that every weight comes from
  /// beyond the core's caches. The bits do not depend on it.
  explicit PackedPanels(const at::Tensor& weight, bool streamed = false);

  int64_t columns() const { return columns_; }  ///< of a panel
  int64_t inner() const { return inner_; }

  /// c = a W^T of one panel; see genie_env::Multiply.
  void Multiply(int64_t panel, int64_t rows, const Element* a, int64_t a_stride, float* c,
                int64_t c_stride) const;

 private:
  int64_t columns_ = 0, inner_ = 0;
  std::optional<StripProduct> strips_;  // what multiplies in float32; else oneDNN does
  bool amx_ = false;                    // whether MultiplyAmx does in bfloat16
  at::Tensor weight_;                   // [panels, columns x inner]
  const Element* weights_ = nullptr;    // the data of weight_; asking a tensor for it costs time
};

extern template class PackedPanels<float>;
extern template class PackedPanels<at::BFloat16>;

/// Releases the thread's AMX tiles at the end of the scope, after its products.
struct TileScope {
  explicit TileScope(bool bf16) : bf16(bf16) {}
  ~TileScope();
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
  bool bf16;
};

/// Why products cannot be computed in bfloat16 now; empty where they can. They need AVX-512, and
/// oneDNN switched on and allowed to use it.
std::string Bf16UnavailableReason();
bool CanPackBf16();

/// Whether bfloat16 is the faster type on this CPU: it has dot products of bfloat16 (AVX512_BF16 or
/// AMX).
bool Bf16IsFaster();

/// Throws std::invalid_argument if oneDNN has been switched off since a world was loaded in
/// bfloat16.
void CheckBf16StillWorks();

}  // namespace genie_env
