#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "genie_env/kernels/cpu/packed_gemm.h"

namespace genie_env {

/// The product of a frozen layer alone, on all threads: what benchmarks compare a step of such
/// layers with. Immutable and thread-safe.
class PackedProduct {
 public:
  /// weight: float32 [outer, inner] on the CPU. dtype: of the inputs, at::kFloat, or at::kBFloat16,
  /// which needs CanPackBf16().
  PackedProduct(const at::Tensor& weight, at::ScalarType dtype);

  at::ScalarType dtype() const { return dtype_; }
  int64_t inner() const { return inner_; }

  /// x W^T. x: [rows, inner] of the product's dtype, contiguous. Float32 [rows, outer], accumulated
  /// in float32.
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  int64_t inner_, outer_;
  int64_t panels_, columns_;  // of a panel
  at::ScalarType dtype_;
  PackedPanels<float> float_weight_;  // the one of dtype is not empty
  PackedPanels<at::BFloat16> bf16_weight_;
};

/// The instruction sets that the CPU's kernels use here: "avx2", "avx512", "avx512, avx512_bf16" or
/// "avx512, amx_bf16"; "baseline" without any.
std::string InstructionSetsInUse();

}  // namespace genie_env
