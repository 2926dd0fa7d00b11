#pragma once

#include <cstdint>

namespace genie_env {

// Products of bfloat16 numbers on AMX, with weights in strips: the next weights are loaded while
// these are multiplied, because weights that all together are larger than a core's caches would
// otherwise be waited for.

inline constexpr int64_t kAmxColumns = 16;  ///< columns come in multiples of it, as tiles do
inline constexpr int64_t kAmxInner = 32;    ///< `inner` too

/// c = a b, accumulated in float32.
struct AmxBlock {
  int64_t rows;
  int64_t columns;
  int64_t inner;
  const uint16_t* a;  ///< [rows, inner], bits of bfloat16
  int64_t a_stride;
  const uint16_t* b;  ///< tiles of 32 x 16, [16 pairs of rows, 16 columns, 2] each, in the order
                      ///< [strips of two, inner / 32, 2]; the last strip may have one. The next
                      ///< weights to come are expected behind them.
  float* c;           ///< [rows, columns]
  int64_t c_stride;
};

/// Whether this CPU and the operating system have AMX for bfloat16, and neither
/// ATEN_CPU_CAPABILITY nor ONEDNN_MAX_CPU_ISA forbids it.
bool CanMultiplyAmx();

/// By a CPU that can. The bits of a row depend on that row alone. Configures the thread's tiles:
/// other code that uses them must configure them again.
void MultiplyAmx(const AmxBlock& block);

}  // namespace genie_env
