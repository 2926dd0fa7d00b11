#pragma once

#include <cstdint>
#include <vector>

#include "genie_env/core/limits.h"

namespace genie_env {

// The arithmetic of a frozen M (models/vision_memory/memory.h) between its matrix products, for
// blocks of rows on the CPU. Hidden units and latent dimensions come in panels of kPanel, so that
// what one block needs of the products stays in the first cache. Every row's result depends on that
// row alone, to the bit.

inline constexpr int64_t kPanel = 16;

/// Rows that lie apart; `first` is null where there are none.
struct StridedRows {
  float* first = nullptr;
  int64_t stride = 0;
};

/// The LSTM's cell over one panel of hidden units. `Element` is what the matrix products read:
/// float, or the bits of a bfloat16.
template <typename Element>
struct GateBlock {
  int64_t rows;
  int64_t units;            ///< hidden units of the panel that exist, at most kPanel
  const float* products;    ///< [rows, 4, kPanel]: input, forget, cell, output gate, without bias
  const float* bias;        ///< [contexts, 4, kPanel]: with what the action and the restart add
  const int32_t* context;   ///< [rows]
  int64_t stride;           ///< from one row of c and h to the next
  float* c;                 ///< [rows, units], advanced in place
  float* h;                 ///< [rows, units], written
  StridedRows seen_c = {};  ///< [rows, units], c again for whoever observes it
  StridedRows seen_h = {};  ///< [rows, units], h likewise
  int64_t product_stride;   ///< from one row of `product_input` to the next
  Element* product_input;   ///< [rows, units], h again for the next product
};

/// The mixture density over one panel of latent dimensions.
struct MixtureBlock {
  int64_t rows;
  int64_t dimensions;        ///< of the panel that exist, at most kPanel
  int64_t components;        ///< at most kMaxComponents
  const float* products;     ///< [rows, components, 3, kPanel]: log weight, mean, log std
  const float* bias;         ///< [components, 3, kPanel]
  const float* temperature;  ///< [rows]; to sample only
  int64_t stride;            ///< from one row of uniform, normal and z to the next
  const float* uniform;      ///< [rows, dimensions], chooses the component; to sample only
  const float* normal;       ///< [rows, dimensions], the noise within it; to sample only
  float* z;                  ///< [rows, dimensions]: written when sampling, else read
  StridedRows seen_z = {};   ///< [rows, dimensions], z for whoever observes it; to sample only
  int64_t surprise_stride;
  float* surprise;  ///< [rows]: -log density of z at temperature 1, summed over the panel
};

/// One instruction set's version of them. All are pure and thread-safe.
struct MemoryKernels {
  const char* instruction_set;
  void (*gates)(const GateBlock<float>&);
  void (*gates_bf16)(const GateBlock<uint16_t>&);
  /// Samples z, log weights divided by the temperature and the noise times its root; and scores it.
  void (*sample)(const MixtureBlock&);
  /// Scores a given z.
  void (*score)(const MixtureBlock&);
  /// out[row] = bias + h[row] . weight; h: [rows, size].
  void (*dot)(int64_t rows, int64_t size, const float* h, const float* weight, float bias,
              float* out);
  void (*to_bf16)(int64_t size, const float* in, uint16_t* out);
};

/// Those that this CPU can run, the fastest last; there is at least one.
std::vector<MemoryKernels> SupportedMemoryKernels();

}  // namespace genie_env
