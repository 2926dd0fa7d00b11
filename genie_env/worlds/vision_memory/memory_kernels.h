#pragma once

#include <cstdint>
#include <vector>

#include "genie_env/core/limits.h"

namespace genie_env {

// The arithmetic of a frozen M (models/vision_memory/memory.h) between its matrix products, for
// blocks of rows on the CPU. Hidden units and latent dimensions are computed in panels of kPanel,
// so that a block's products stay in the first cache. The bits of a row's result depend on that row
// alone.

inline constexpr int64_t kPanel = 16;

/// Rows that need not be contiguous; `first` is null where there are none.
struct StridedRows {
  float* first = nullptr;
  int64_t stride = 0;
};

/// The LSTM's cell over one panel of hidden units. `Element` is the type of the matrix products'
/// inputs: float, or the bits of a bfloat16.
template <typename Element>
struct GateBlock {
  int64_t rows;
  int64_t units;           ///< hidden units in the panel, at most kPanel
  const float* products;   ///< [rows, 4, kPanel]: input, forget, cell, output gate, without bias
  const float* bias;       ///< [contexts, 4, kPanel]: including the terms of action and restart
  const int32_t* context;  ///< [rows]
  int64_t stride;          ///< numbers from one row of c and h to the next
  float* c;                ///< [rows, units], advanced in place
  float* h;                ///< [rows, units], written
  StridedRows c_out = {};  ///< [rows, units]: optional second copy of c for the observation
  StridedRows h_out = {};  ///< [rows, units]: optional second copy of h for the observation
  int64_t product_stride;  ///< numbers from one row of `product_input` to the next
  Element* product_input;  ///< [rows, units]: h as the input of the next product
};

/// The mixture density over one panel of latent dimensions.
struct MixtureBlock {
  int64_t rows;
  int64_t dimensions;        ///< dimensions in the panel, at most kPanel
  int64_t components;        ///< at most kMaxComponents
  const float* products;     ///< [rows, components, 3, kPanel]: log weight, mean, log std
  const float* bias;         ///< [components, 3, kPanel]
  const float* temperature;  ///< [rows]; read by sample only
  int64_t stride;            ///< numbers from one row of uniform, normal and z to the next
  const float* uniform;      ///< [rows, dimensions]: chooses the component; read by sample only
  const float* normal;       ///< [rows, dimensions]: the noise within it; read by sample only
  float* z;                  ///< [rows, dimensions]: written by sample, read by score
  StridedRows z_out = {};    ///< [rows, dimensions]: optional second copy of z; written by sample
  int64_t surprise_stride;
  float* surprise;  ///< [rows]: -log density of z at temperature 1, summed over the panel
};

/// The kernels of one instruction set. All are pure and thread-safe.
struct MemoryKernels {
  const char* instruction_set;
  void (*gates)(const GateBlock<float>&);
  void (*gates_bf16)(const GateBlock<uint16_t>&);
  /// Samples z, with log weights divided by the temperature and the noise times its root, and
  /// scores it.
  void (*sample)(const MixtureBlock&);
  /// Scores a given z.
  void (*score)(const MixtureBlock&);
  /// out[row] = bias + h[row] . weight; h: [rows, size].
  void (*dot)(int64_t rows, int64_t size, const float* h, const float* weight, float bias,
              float* out);
  void (*to_bf16)(int64_t size, const float* in, uint16_t* out);
  /// out = max(products + bias, 0). products, out: [rows, units]; units: a multiple of kPanel.
  void (*rectify)(int64_t rows, int64_t units, const float* products, const float* bias,
                  float* out);
  void (*rectify_bf16)(int64_t rows, int64_t units, const float* products, const float* bias,
                       uint16_t* out);
  /// mean[row] = the mean of `values` under the softmax of products + bias. products: [rows, bins]
  /// with `stride` numbers from one row to the next; bias, values: [bins].
  void (*expect)(int64_t rows, int64_t bins, const float* products, int64_t stride,
                 const float* bias, const float* values, float* mean);
};

/// The kernels that this CPU can run, the fastest last; there is at least one.
std::vector<MemoryKernels> SupportedMemoryKernels();

}  // namespace genie_env
