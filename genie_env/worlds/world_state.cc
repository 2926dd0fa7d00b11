#include "genie_env/worlds/world_state.h"

#include <stdexcept>
#include <utility>

#include "genie_env/tensor/check_tensor.h"
#include "genie_env/tensor/frozen_scope.h"
#include "genie_env/tensor/gather_scatter.h"

namespace genie_env {
namespace {

// Callers hold the tensors too, and can resize them.
void CheckRowsOfFields(const WorldState& state) {
  for (const auto& [name, tensor] : state.fields()) {
    if (tensor.dim() > 0 && tensor.size(0) == state.rows()) continue;
    throw std::invalid_argument("the state was reshaped: its \"" + name + "\" is " +
                                Describe(tensor) + ", expected " + std::to_string(state.rows()) +
                                " rows as in \"" + state.fields()[0].name +
                                "\"; use one that MakeState of its world made");
  }
}

void CheckAlike(const WorldState::Field& src, const WorldState::Field& dst) {
  const bool alike = src.name == dst.name && src.tensor.scalar_type() == dst.tensor.scalar_type() &&
                     src.tensor.sizes().slice(1) == dst.tensor.sizes().slice(1);
  if (!alike) {
    throw std::invalid_argument("the states are of different worlds: one has \"" + src.name +
                                "\" as " + Describe(src.tensor) + ", the other \"" + dst.name +
                                "\" as " + Describe(dst.tensor));
  }
}

}  // namespace

WorldState::WorldState(std::vector<Field> fields) : fields_(std::move(fields)) {
  if (fields_.empty()) throw std::invalid_argument("a state needs at least one tensor");
  for (const Field& field : fields_) {
    if (!field.tensor.defined() || field.tensor.dim() == 0 ||
        field.tensor.size(0) != fields_[0].tensor.size(0)) {
      throw std::invalid_argument("\"" + field.name + "\" is " + Describe(field.tensor) +
                                  ": every tensor of a state has the row as first dimension");
    }
  }
}

int64_t WorldState::rows() const {
  const at::Tensor& first = fields_[0].tensor;
  return first.dim() > 0 ? first.size(0) : 0;
}

WorldState WorldState::Clone() const {
  const FrozenScope scope;
  std::vector<Field> copies;
  for (const Field& field : fields_) copies.push_back({field.name, field.tensor.clone()});
  return WorldState(std::move(copies));
}

WorldState WorldState::Select(const at::Tensor& rows) const {
  const FrozenScope scope;
  CheckRowsOfFields(*this);
  const at::Tensor checked = CheckRows(rows, "rows", this->rows());
  std::vector<Field> copies;
  for (const Field& field : fields_) {
    copies.push_back({field.name, GatherRows(field.tensor, checked)});
  }
  return WorldState(std::move(copies));
}

void WorldState::CopyRows(const WorldState& src, const at::Tensor& src_rows, WorldState& dst,
                          const at::Tensor& dst_rows) {
  const FrozenScope scope;
  CheckRowsOfFields(src);
  CheckRowsOfFields(dst);
  const at::Tensor from = CheckRows(src_rows, "src_rows", src.rows());
  const at::Tensor to = CheckRows(dst_rows, "dst_rows", dst.rows());
  if (from.size(0) != to.size(0)) {
    throw std::invalid_argument("src_rows names " + std::to_string(from.size(0)) +
                                " rows and dst_rows " + std::to_string(to.size(0)) +
                                ": give as many of each");
  }
  std::vector<bool> seen(dst.rows());
  for (int64_t i = 0; i < to.size(0); ++i) {
    const int64_t row = to.const_data_ptr<int64_t>()[i];
    if (seen[row]) {
      throw std::invalid_argument("dst_rows names row " + std::to_string(row) +
                                  " twice: only one row can be copied there");
    }
    seen[row] = true;
  }
  if (src.fields_.size() != dst.fields_.size()) {
    throw std::invalid_argument("the states are of different worlds: one has " +
                                std::to_string(src.fields_.size()) + " tensors, the other " +
                                std::to_string(dst.fields_.size()));
  }
  for (size_t i = 0; i < src.fields_.size(); ++i) CheckAlike(src.fields_[i], dst.fields_[i]);
  for (size_t i = 0; i < src.fields_.size(); ++i) {
    ScatterRows(dst.fields_[i].tensor, to, GatherRows(src.fields_[i].tensor, from));
  }
}

}  // namespace genie_env
