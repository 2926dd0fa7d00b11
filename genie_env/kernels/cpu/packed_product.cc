#include "genie_env/kernels/cpu/packed_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "genie_env/kernels/cpu/instruction_sets.h"

namespace genie_env {
namespace {

constexpr int64_t kPanelColumns = 64;  // as the layers of the worlds
constexpr int64_t kRowsOfTask = 64;

int64_t RoundUp(int64_t number, int64_t to) { return (number + to - 1) / to * to; }

}  // namespace

PackedProduct::PackedProduct(const at::Tensor& weight, at::ScalarType dtype)
    : inner_(weight.size(1)),
      outer_(weight.size(0)),
      panels_((outer_ + kPanelColumns - 1) / kPanelColumns),
      columns_(RoundUp((outer_ + panels_ - 1) / panels_, 2)),
      dtype_(dtype) {
  const at::Tensor padded = PadTo(PadTo(weight, 0, panels_ * columns_), 1, RoundUp(inner_, 2));
  const at::Tensor panels = padded.view({panels_, columns_, -1});
  if (dtype == at::kBFloat16) {
    bf16_weight_ = PackedPanels<at::BFloat16>(panels);
  } else {
    float_weight_ = PackedPanels<float>(panels);
  }
}

at::Tensor PackedProduct::operator()(const at::Tensor& x) const {
  const at::Tensor input = inner_ % 2 == 0 ? x : PadTo(x, 1, inner_ + 1);
  const int64_t rows = x.size(0), inner = input.size(1), stride = panels_ * columns_;
  const at::Tensor out = at::empty({rows, stride}, at::kFloat);
  const int64_t blocks = (rows + kRowsOfTask - 1) / kRowsOfTask;
  const auto multiply = [&]<typename Element>(const PackedPanels<Element>& weight) {
    at::parallel_for(0, panels_ * blocks, 1, [&](int64_t begin, int64_t end) {
      const TileScope tiles{kIsBf16<Element>};
      for (int64_t task = begin; task < end; ++task) {
        const int64_t panel = task / blocks, first = task % blocks * kRowsOfTask;
        weight.Multiply(panel, std::min(kRowsOfTask, rows - first),
                        input.const_data_ptr<Element>() + first * inner, inner,
                        out.mutable_data_ptr<float>() + first * stride + panel * columns_, stride);
      }
    });
  };
  if (dtype_ == at::kBFloat16) {
    multiply(bf16_weight_);
  } else {
    multiply(float_weight_);
  }
  return out.narrow(1, 0, outer_);
}

std::string InstructionSetsInUse() {
  switch (BestInstructionSet()) {
    case InstructionSet::kBaseline:
      return "baseline";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx512:
      break;
  }
  if (!Bf16IsFaster()) return "avx512";
  return HasAmxBf16() ? "avx512, amx_bf16" : "avx512, avx512_bf16";
}

}  // namespace genie_env
