#pragma once

#include <cstdint>

namespace genie_env {

/// One pass of MaskGIT (worlds/genie/mask_schedule.h) over a batch of frames. After the forward
/// pass, it unmasks `count` tokens of each row: those with the largest `order`, or, where `order`
/// is null, those whose likeliest code has the highest probability; ties by position. An unmasked
/// token takes its value from `given`, or, where `given` is null, from a draw: the first code at
/// which the sum of exp((logit - top) / temperature) reaches `uniform` of its total. A code that
/// adds nothing to the sum is never drawn. All arrays are row-major and on one device.
struct MaskGitPass {
  int64_t rows;
  int64_t positions;
  int64_t codes;
  int64_t count;             ///< tokens to unmask in each row, at most those that are masked
  const float* logits;       ///< [rows, positions, codes]
  const float* order;        ///< [rows, positions], or null
  const int64_t* given;      ///< [rows, positions], or null
  const float* uniform;      ///< [rows, positions]; read by draws only
  const float* temperature;  ///< [rows]; read by draws only
  int64_t* tokens;           ///< [rows, positions]: `codes` where masked; updated in place
  float* surprise;  ///< [rows]: grows by -ln of the probabilities of the unmasked tokens at
                    ///< temperature 1
};

/// The reference implementation, for arrays on the CPU.
void UnmaskOnCpu(const MaskGitPass& pass);

/// The same for arrays on the current GPU, enqueued on `stream`, a cudaStream_t. A row's bits
/// depend on that row alone. Throws std::runtime_error when the kernel cannot be launched, and in a
/// build without CUDA kernels.
void UnmaskOnGpu(const MaskGitPass& pass, void* stream);

}  // namespace genie_env
