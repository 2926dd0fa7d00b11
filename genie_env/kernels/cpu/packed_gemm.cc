#include "genie_env/kernels/cpu/packed_gemm.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <bit>
#include <stdexcept>
#include <vector>

#include "genie_env/kernels/cpu/amx_product.h"
#include "genie_env/kernels/cpu/instruction_sets.h"

namespace genie_env {

int64_t ProductRows(int64_t rows) {
  return rows <= 8 ? static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows)))
                   : (rows + 7) / 8 * 8;
}

at::Tensor PadTo(const at::Tensor& tensor, int64_t dimension, int64_t size) {
  std::vector<int64_t> pad(2 * (tensor.dim() - dimension), 0);
  pad.back() = size - tensor.size(dimension);
  return at::constant_pad_nd(tensor, pad);
}

void Multiply(int64_t rows, int64_t columns, int64_t inner, const float* a, int64_t a_stride,
              const float* b, float* c, int64_t c_stride) {
  MultiplyStrided(rows, columns, inner, a, a_stride, b, columns, c, c_stride, /*add=*/false);
}

void MultiplyStrided(int64_t rows, int64_t columns, int64_t inner, const float* a, int64_t a_stride,
                     const float* b, int64_t b_stride, float* c, int64_t c_stride, bool add) {
  at::native::cpublas::brgemm(rows, columns, inner, a_stride, b_stride, c_stride, add, a, b, c,
                              /*is_vnni=*/false);
}

void Multiply(int64_t rows, int64_t columns, int64_t inner, const at::BFloat16* a, int64_t a_stride,
              const at::BFloat16* b, float* c, int64_t c_stride) {
  at::native::cpublas::brgemm(rows, columns, inner, a_stride, columns, c_stride, /*add_C=*/false, a,
                              b, c, /*is_vnni=*/true);
}

// pairs: bfloat16 [panels, inner / 2, columns, 2]. See AmxBlock.
static at::Tensor AmxTiles(const at::Tensor& pairs) {
  const at::Tensor tiles =
      pairs.unflatten(2, {-1, kAmxColumns}).unflatten(1, {-1, kAmxInner / 2}).transpose(2, 3);
  std::vector<at::Tensor> strips;  // of [panels, inner / 32, tiles, 16, 16, 2]
  for (const at::Tensor& strip : tiles.split(2, 2)) strips.push_back(strip.flatten(1));
  return at::cat(strips, 1);
}

template <typename Element>
PackedPanels<Element>::PackedPanels(const at::Tensor& weight, bool streamed)
    : columns_(weight.size(1)), inner_(weight.size(2)) {
  const at::Tensor transposed = weight.transpose(1, 2);  // [panels, inner, columns]
  if constexpr (kIsBf16<Element>) {
    amx_ = streamed && columns_ % kAmxColumns == 0 && inner_ % kAmxInner == 0 && CanMultiplyAmx();
    const at::Tensor pairs = transposed.unflatten(1, {-1, 2}).transpose(2, 3).to(at::kBFloat16);
    weight_ = amx_ ? AmxTiles(pairs) : pairs.contiguous();
  } else {
    const std::vector<StripProduct> supported = SupportedStripProducts();
    if (!supported.empty() && columns_ % supported.back().unit == 0) strips_ = supported.back();
    std::vector<at::Tensor> strips;
    const int64_t width = strips_.has_value() ? strips_->columns : columns_;
    for (const at::Tensor& strip : transposed.split(width, 2)) strips.push_back(strip.flatten(1));
    weight_ = at::cat(strips, 1);
  }
  weights_ = weight_.template const_data_ptr<Element>();
}

template <typename Element>
void PackedPanels<Element>::Multiply(int64_t panel, int64_t rows, const Element* a,
                                     int64_t a_stride, float* c, int64_t c_stride) const {
  const Element* b = weights_ + panel * columns_ * inner_;
  if constexpr (!kIsBf16<Element>) {
    if (strips_.has_value()) {
      strips_->multiply({.rows = rows,
                         .columns = columns_,
                         .inner = inner_,
                         .a = a,
                         .a_stride = a_stride,
                         .b = b,
                         .c = c,
                         .c_stride = c_stride});
      return;
    }
  }
  if constexpr (kIsBf16<Element>) {
    if (amx_) {
      MultiplyAmx({.rows = rows,
                   .columns = columns_,
                   .inner = inner_,
                   .a = reinterpret_cast<const uint16_t*>(a),
                   .a_stride = a_stride,
                   .b = reinterpret_cast<const uint16_t*>(b),
                   .c = c,
                   .c_stride = c_stride});
      at::native::cpublas::brgemm_release();  // it would believe the tiles still to be its own
      return;
    }
  }
  genie_env::Multiply(rows, columns_, inner_, a, a_stride, b, c, c_stride);
}

template class PackedPanels<float>;
template class PackedPanels<at::BFloat16>;

TileScope::~TileScope() { at::native::cpublas::brgemm_release(bf16); }

std::string Bf16UnavailableReason() {
  if (BestInstructionSet() < InstructionSet::kAvx512)
    return "this processor has no AVX-512, or ATEN_CPU_CAPABILITY forbids it";
  if (!at::globalContext().userEnabledMkldnn()) {
    return "oneDNN is switched off (torch.backends.mkldnn.enabled)";
  }
  // An environment variable can keep oneDNN from AVX-512: only a product shows it.
  constexpr int64_t kSize = 32;
  const at::Tensor zeros = at::zeros({kSize, kSize}, at::kBFloat16);
  const auto* input = zeros.const_data_ptr<at::BFloat16>();
  const at::Tensor product = at::empty({kSize, kSize}, at::kFloat);
  try {
    Multiply(kSize, kSize, kSize, input, kSize, input, product.mutable_data_ptr<float>(), kSize);
  } catch (const c10::Error&) {
    return "oneDNN may not use AVX-512 here (ONEDNN_MAX_CPU_ISA)";
  }
  at::native::cpublas::brgemm_release();
  return "";
}

bool CanPackBf16() { return Bf16UnavailableReason().empty(); }

bool Bf16IsFaster() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") && CanPackBf16();  // AMX comes with it
#else
  return false;
#endif
}

void CheckBf16StillWorks() {
  if (at::globalContext().userEnabledMkldnn()) return;
  throw std::invalid_argument(
      "the world was loaded in bfloat16, but oneDNN has been switched off since "
      "(torch.backends.mkldnn.enabled): switch it on, or load the world in float32");
}

}  // namespace genie_env
