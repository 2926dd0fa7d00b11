#pragma once

#include <cstdint>
#include <vector>

namespace genie_env {

// Products of float32 numbers with weights that lie in strips: all numbers of a few columns side by
// side. A strip stays in a core's smallest cache while all rows are multiplied with it, and the
// next one is loaded meanwhile, since weights that all together are larger than a core's caches
// would otherwise be waited for.

/// c = a b.
struct StripBlock {
  int64_t rows;
  int64_t columns;  ///< a multiple of StripProduct::unit
  int64_t inner;
  const float* a;  ///< [rows, inner]
  int64_t a_stride;
  const float* b;  ///< strip by strip, [inner, columns of the strip] each; the next strip to come
                   ///< is expected behind it
  float* c;        ///< [rows, columns]
  int64_t c_stride;
};

/// The product of one instruction set, pure and thread-safe. Each number is one sum over `inner` in
/// ascending order, in which every multiplication is fused with its addition: the bits are the same
/// for any number of rows and columns and on every instruction set here.
struct StripProduct {
  const char* instruction_set;
  int64_t unit;     ///< columns come in multiples of it
  int64_t columns;  ///< of a strip; the last one of a panel may have fewer
  void (*multiply)(const StripBlock&);
};

/// The products that this CPU can run, the fastest last. None without AVX2.
std::vector<StripProduct> SupportedStripProducts();

}  // namespace genie_env
