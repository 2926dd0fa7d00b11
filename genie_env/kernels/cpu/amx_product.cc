#include "genie_env/kernels/cpu/amx_product.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include "genie_env/kernels/cpu/float_math.h"
#include "genie_env/kernels/cpu/instruction_sets.h"

namespace genie_env {

#if defined(__x86_64__) && defined(__linux__)

#define GENIE_ENV_AMX __attribute__((target("amx-tile,amx-bf16")))

namespace {

constexpr int64_t kTileRows = 16, kTileNumbers = 512;  // of weights

// The operating system enables the tiles' registers for a process that asks.
bool TilesPermitted() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool OneDnnAllowsAmx() {
  const char* variable = std::getenv("ONEDNN_MAX_CPU_ISA");
  if (variable == nullptr) variable = std::getenv("DNNL_MAX_CPU_ISA");
  const std::string_view allowed = variable == nullptr ? "" : variable;
  return allowed.empty() || allowed == "ALL" || allowed == "DEFAULT" ||
         allowed.find("AMX") != allowed.npos;
}

/// The layout that LDTILECFG reads.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes_of_row[16] = {};
  uint8_t rows[16] = {};
};

/// Tiles 0 to 3: sums, of two tiles of rows x two of columns. 4 and 5: of a. 6 and 7: of b.
GENIE_ENV_AMX void ConfigureTiles(int64_t first_rows, int64_t second_rows) {
  TileConfiguration tiles;
  const auto set = [&](int tile, int64_t rows) {
    if (rows == 0) return;
    tiles.rows[tile] = static_cast<uint8_t>(rows);
    tiles.bytes_of_row[tile] = 64;
  };
  for (const int tile : {0, 1, 4}) set(tile, first_rows);
  for (const int tile : {2, 3, 5}) set(tile, second_rows);
  for (const int tile : {6, 7}) set(tile, kTileRows);
  asm volatile("" : : "r"(&tiles) : "memory");  // GCC's intrinsic reads the first bytes alone
  _tile_loadconfig(&tiles);
}

/// One or two tiles of rows x one or two of columns, as configured. next: what is loaded into the
/// core's second cache meanwhile.
template <bool kTwoRows, bool kTwoColumns, bool kPrefetch>
GENIE_ENV_AMX GENIE_ENV_INLINE void MultiplyTiles(const AmxBlock& block, const char*& next) {
  constexpr int kLine = 64, kLinesOfStep = 16;
  const auto a_bytes = static_cast<long>(block.a_stride * sizeof(uint16_t));
  const auto c_bytes = static_cast<long>(block.c_stride * sizeof(float));
  const uint16_t *a = block.a, *b = block.b;
  _tile_zero(0);
  if constexpr (kTwoColumns) _tile_zero(1);
  if constexpr (kTwoRows) _tile_zero(2);
  if constexpr (kTwoRows && kTwoColumns) _tile_zero(3);
  for (int64_t k = 0; k < block.inner; k += kAmxInner) {
    _tile_loadd(4, a + k, a_bytes);
    _tile_loadd(6, b, 64);
    if constexpr (kTwoColumns) _tile_loadd(7, b + kTileNumbers, 64);
    if constexpr (kTwoRows) _tile_loadd(5, a + kTileRows * block.a_stride + k, a_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kTwoColumns) _tile_dpbf16ps(1, 4, 7);
    if constexpr (kTwoRows) _tile_dpbf16ps(2, 5, 6);
    if constexpr (kTwoRows && kTwoColumns) _tile_dpbf16ps(3, 5, 7);
    b += kTwoColumns ? 2 * kTileNumbers : kTileNumbers;
    if constexpr (kPrefetch) {
      for (int line = 0; line < kLinesOfStep; ++line, next += kLine) {
        __builtin_prefetch(next, 0, 2);
      }
    }
  }
  float* c = block.c;
  _tile_stored(0, c, c_bytes);
  if constexpr (kTwoColumns) _tile_stored(1, c + kAmxColumns, c_bytes);
  c += kTileRows * block.c_stride;
  if constexpr (kTwoRows) _tile_stored(2, c, c_bytes);
  if constexpr (kTwoRows && kTwoColumns) _tile_stored(3, c + kAmxColumns, c_bytes);
}

/// All columns of `rows` rows, 32 at a time or at most 32.
template <bool kTwoRows>
GENIE_ENV_AMX GENIE_ENV_INLINE void MultiplyRows(AmxBlock block) {
  const AmxBlock whole = block;
  while (block.columns > 0) {
    const int64_t columns = std::min(block.columns, 2 * kAmxColumns);
    const auto* next = reinterpret_cast<const char*>(block.b + columns * block.inner);
    for (int64_t row = 0; row < whole.rows; row += 2 * kTileRows) {
      AmxBlock tiles = block;
      tiles.a += row * block.a_stride;
      tiles.c += row * block.c_stride;
      if (columns == kAmxColumns) {
        MultiplyTiles<kTwoRows, false, false>(tiles, next);
      } else if (row < 4 * kTileRows) {  // these load the whole next strip
        MultiplyTiles<kTwoRows, true, true>(tiles, next);
      } else {
        MultiplyTiles<kTwoRows, true, false>(tiles, next);
      }
    }
    block.columns -= columns;
    block.b += columns * block.inner;
    block.c += columns;
  }
}

}  // namespace

bool CanMultiplyAmx() {
  return BestInstructionSet() == InstructionSet::kAvx512 && HasAmxBf16() && OneDnnAllowsAmx() &&
         TilesPermitted();
}

GENIE_ENV_AMX void MultiplyAmx(const AmxBlock& block) {
  const int64_t whole = block.rows / (2 * kTileRows) * (2 * kTileRows);
  const int64_t rest = block.rows - whole;
  AmxBlock part = block;
  if (whole > 0) {
    ConfigureTiles(kTileRows, kTileRows);
    part.rows = whole;
    MultiplyRows<true>(part);
  }
  if (rest == 0) return;
  part.rows = rest;
  part.a += whole * block.a_stride;
  part.c += whole * block.c_stride;
  if (rest > kTileRows) {
    ConfigureTiles(kTileRows, rest - kTileRows);
    MultiplyRows<true>(part);
  } else {
    ConfigureTiles(rest, 0);
    MultiplyRows<false>(part);
  }
}

#else

bool CanMultiplyAmx() { return false; }

void MultiplyAmx(const AmxBlock& /*block*/) { throw std::logic_error("there is no AMX here"); }

#endif

}  // namespace genie_env
