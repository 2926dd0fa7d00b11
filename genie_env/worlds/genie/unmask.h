#pragma once

#include <cstdint>

namespace genie_env {

/// One pass of MaskGIT (worlds/genie/mask_schedule.h) over a batch of frames, after the network has
/// spoken. Of each row's hidden tokens so many are settled: the largest by `order`, or, where it is
/// null, the most certain, whose likeliest code has the highest probability; ties by position. Each
/// becomes what is given, or, where that is null, a draw: the first code at which the sum of
/// exp((logit - top) / temperature) reaches `uniform` of its total. All row-major, on one device.
struct MaskGitPass {
  int64_t rows;
  int64_t positions;
  int64_t codes;
  int64_t settled;           ///< tokens of each row; no more than are hidden
  const float* logits;       ///< [rows, positions, codes]
  const float* order;        ///< [rows, positions], or null
  const int64_t* given;      ///< [rows, positions], or null
  const float* uniform;      ///< [rows, positions]; to draw only
  const float* temperature;  ///< [rows]; to draw only
  int64_t* tokens;           ///< [rows, positions]: `codes` where hidden; settled in place
  float* surprise;           ///< [rows]: grows by -ln of the probabilities of what was settled, at
                             ///< temperature 1
};

/// The reference, for tensors on the CPU.
void UnmaskOnCpu(const MaskGitPass& pass);

/// The same for tensors on the current GPU, enqueued on `stream`, a cudaStream_t. A row's bits
/// depend on that row alone. Throws std::runtime_error when it cannot be launched, as in a build
/// without CUDA kernels.
void UnmaskOnGpu(const MaskGitPass& pass, void* stream);

}  // namespace genie_env
