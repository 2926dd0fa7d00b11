#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <type_traits>

namespace genie_env {

// Matrix products on the CPU of a few rows with weights that were packed once. `Element` is what
// they read, float or at::BFloat16; they add up in float32. A row's bits depend on neither the
// number of rows nor the row's place among them.

template <typename Element>
inline constexpr bool kIsBf16 = std::is_same_v<Element, at::BFloat16>;

template <typename Element>
inline constexpr at::ScalarType kTypeOf = kIsBf16<Element> ? at::kBFloat16 : at::kFloat;

/// What kernels/ call an Element: a bfloat16 is its bits.
template <typename Element>
using BitsOf = std::conditional_t<kIsBf16<Element>, uint16_t, float>;

/// Rows that a product computes for `rows` that are wanted. oneDNN compiles a kernel for every
/// number of rows; this leaves it few.
int64_t ProductRows(int64_t rows);

/// Zeros behind the end of one dimension, up to `size`.
at::Tensor PadTo(const at::Tensor& tensor, int64_t dimension, int64_t size);

/// [panels, columns, K] as the products read it: [panels, K, columns] in float32, and with pairs of
/// K interleaved, [panels, K / 2, columns, 2], in bfloat16.
at::Tensor PackPanels(const at::Tensor& weight, at::ScalarType dtype);

/// c = a b: a [rows, inner] with a_stride from one row to the next, b packed [inner, columns], c
/// [rows, columns] with c_stride. rows is one of ProductRows; inner is even in bfloat16.
void Multiply(int64_t rows, int64_t columns, int64_t inner, const float* a, int64_t a_stride,
              const float* b, float* c, int64_t c_stride);
void Multiply(int64_t rows, int64_t columns, int64_t inner, const at::BFloat16* a, int64_t a_stride,
              const at::BFloat16* b, float* c, int64_t c_stride);

/// Gives AMX's tiles back to the processor when a thread's products are done.
struct TileScope {
  explicit TileScope(bool bf16) : bf16(bf16) {}
  ~TileScope();
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
  bool bf16;
};

/// What keeps products from bfloat16 here and now, in words; empty where nothing does. It takes
/// AVX-512, and a oneDNN that is switched on and may use it.
std::string Bf16Obstacle();
bool CanPackBf16();

/// Whether bfloat16 is the faster type here: it is where there are dot products of it (AVX512_BF16
/// or AMX).
bool Bf16IsFaster();

/// Throws std::invalid_argument if oneDNN has been switched off since a world was loaded in
/// bfloat16.
void CheckBf16StillWorks();

}  // namespace genie_env
