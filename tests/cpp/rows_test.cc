// Rows of tensors and of states, against LibTorch's own operators.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "files.h"
#include "genie_env/tensor/gather_scatter.h"
#include "genie_env/worlds/world_state.h"

namespace genie_env {
namespace {

at::Tensor Numbers(std::vector<int64_t> rows) { return at::tensor(rows, at::kLong); }

TEST(Rows, AreWhatLibTorchSelectsAndCopies) {
  const at::Tensor table = at::arange(7 * 3 * 5).view({7, 3, 5});
  for (const at::ScalarType dtype : {at::kByte, at::kBFloat16, at::kFloat, at::kLong}) {
    // In a row, and not.
    for (const at::Tensor& tensor : {table.to(dtype), table.to(dtype).transpose(1, 2)}) {
      for (const auto& rows : {Numbers({6, 0, 0, 3}), Numbers({2}), Numbers({})}) {
        const at::Tensor gathered = GatherRows(tensor, rows);
        EXPECT_TRUE(at::equal(gathered, tensor.index_select(0, rows)));
        EXPECT_FALSE(gathered.is_alias_of(tensor));
        const at::Tensor once = rows.size(0) == 4 ? Numbers({5, 1, 4, 0}) : rows;
        const at::Tensor written = tensor.clone();
        ScatterRows(written, once, gathered);
        EXPECT_TRUE(at::equal(written, tensor.index_copy(0, once, gathered)));
        EXPECT_EQ(written.is_contiguous(), tensor.is_contiguous());
      }
    }
  }
  EXPECT_EQ(GatherRows(at::zeros({0, 4}), Numbers({})).size(1), 4);
  EXPECT_EQ(GatherRows(at::zeros({3, 0}), Numbers({2, 2})).size(0), 2);
}

TEST(Rows, OfAStateThatWasReshapedAreRefused) {
  const auto state = [](int64_t more) {
    return WorldState({{"z", at::zeros({4, 2})}, {"h", at::zeros({4 + more, 3})}});
  };
  EXPECT_THROW(state(1), std::invalid_argument);
  WorldState whole = state(0), reshaped = state(0);
  reshaped[1].resize_({2, 3});
  const std::string words =
      "the state was reshaped: its \"h\" is float32 [2, 3], expected 4 rows as in \"z\"; use one "
      "that MakeState of its world made";
  const at::Tensor rows = Numbers({3});
  for (const std::function<void()>& call : std::vector<std::function<void()>>{
           [&] { reshaped.Select(rows); },
           [&] { WorldState::CopyRows(reshaped, rows, whole, rows); },
           [&] { WorldState::CopyRows(whole, rows, reshaped, rows); }}) {
    EXPECT_EQ(TextOf<std::invalid_argument>(call), words);
  }
  EXPECT_EQ(whole.Select(rows)[1].size(1), 3);
}

}  // namespace
}  // namespace genie_env
