#include "genie_env/env/step_rollback.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/take_along_dim.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>

#include "genie_env/tensor/gather_scatter.h"

namespace genie_env {
namespace {

// The kernels below copy raw memory: what a world names must be there.
void CheckField(const OverwrittenField& field, const WorldState& state) {
  const auto refuse = [&](const std::string& why) {
    throw std::logic_error("OverwrittenByStep: field " + std::to_string(field.field) + " " + why);
  };
  if (field.field >= state.fields().size()) {
    refuse("does not exist: the state has " + std::to_string(state.fields().size()));
  }
  if (!field.slot.defined()) return;
  const at::Tensor& tensor = state[field.field];
  if (field.dimension < 1 || field.dimension >= tensor.dim() || !tensor.is_contiguous()) {
    refuse("has no dimension " + std::to_string(field.dimension) + ", or is not contiguous");
  }
  if (!field.slot.is_cpu() || field.slot.scalar_type() != at::kLong ||
      field.slot.sizes() != at::IntArrayRef{tensor.size(0)} || !field.slot.is_contiguous()) {
    refuse("has a slot that is not int64 [" + std::to_string(tensor.size(0)) + "] on the CPU");
  }
  const std::span slots(field.slot.const_data_ptr<int64_t>(), static_cast<size_t>(tensor.size(0)));
  const int64_t count = tensor.size(field.dimension);
  const auto wrong =
      std::ranges::find_if(slots, [&](int64_t slot) { return slot < 0 || slot >= count; });
  if (wrong != slots.end()) {
    refuse("has slot " + std::to_string(*wrong) + " of " + std::to_string(count));
  }
}

// The shape of one slot of each row, the dimension kept.
std::vector<int64_t> SlotShape(const at::Tensor& tensor, int64_t dimension) {
  std::vector<int64_t> shape = tensor.sizes().vec();
  shape[static_cast<size_t>(dimension)] = 1;
  return shape;
}

// int64 of SlotShape, on the tensor's device.
at::Tensor SlotIndex(const at::Tensor& tensor, const OverwrittenField& field) {
  std::vector<int64_t> ones(static_cast<size_t>(tensor.dim()), 1);
  ones[0] = -1;
  return field.slot.to(tensor.device()).view(ones).expand(SlotShape(tensor, field.dimension));
}

// Calls copy(offset in the tensor, offset among the slots, bytes) for each piece that lies in one
// place, for a contiguous tensor on the CPU.
template <typename Copy>
void ForEachPiece(const at::Tensor& tensor, const OverwrittenField& field, const Copy& copy) {
  const int64_t slots = tensor.size(field.dimension);
  const int64_t piece = tensor.stride(field.dimension) * tensor.element_size();
  const int64_t pieces = tensor.stride(0) * tensor.element_size() / (slots * piece);  // of a row
  const int64_t* slot = field.slot.const_data_ptr<int64_t>();
  at::parallel_for(0, tensor.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t i = 0; i < pieces; ++i) {
        const int64_t number = row * pieces + i;
        copy((number * slots + slot[row]) * piece, number * piece, piece);
      }
    }
  });
}

at::Tensor GatherSlots(const at::Tensor& tensor, const OverwrittenField& field) {
  if (!tensor.is_cpu())
    return at::take_along_dim(tensor, SlotIndex(tensor, field), field.dimension);
  at::Tensor slots = at::empty(SlotShape(tensor, field.dimension), tensor.options());
  const auto* from = static_cast<const std::byte*>(tensor.const_data_ptr());
  auto* to = static_cast<std::byte*>(slots.mutable_data_ptr());
  ForEachPiece(tensor, field, [&](int64_t whole, int64_t slot, int64_t bytes) {
    std::memcpy(to + slot, from + whole, static_cast<size_t>(bytes));
  });
  return slots;
}

void ScatterSlots(const at::Tensor& tensor, const OverwrittenField& field,
                  const at::Tensor& slots) {
  if (!tensor.is_cpu()) {
    tensor.scatter_(field.dimension, SlotIndex(tensor, field), slots);
    return;
  }
  const auto* from = static_cast<const std::byte*>(slots.const_data_ptr());
  auto* to = static_cast<std::byte*>(tensor.mutable_data_ptr());
  ForEachPiece(tensor, field, [&](int64_t whole, int64_t slot, int64_t bytes) {
    std::memcpy(to + whole, from + slot, static_cast<size_t>(bytes));
  });
}

}  // namespace

StepRollback::StepRollback(const World& world, const WorldState& state, const at::Tensor& beginning)
    : fields_(world.OverwrittenByStep(state)), beginning_(beginning) {
  for (const OverwrittenField& field : fields_) {
    CheckField(field, state);
    const at::Tensor& tensor = state[field.field];
    saved_.push_back(field.slot.defined() ? GatherSlots(tensor, field) : tensor.clone());
  }
  if (beginning.numel() == 0) return;
  for (const auto& [name, tensor] : state.fields()) rows_.push_back(GatherRows(tensor, beginning));
}

void StepRollback::Restore(WorldState& state) const {
  for (size_t i = 0; i < fields_.size(); ++i) {
    const at::Tensor& tensor = state[fields_[i].field];
    if (fields_[i].slot.defined()) {
      ScatterSlots(tensor, fields_[i], saved_[i]);
    } else {
      tensor.copy_(saved_[i]);
    }
  }
  for (size_t i = 0; i < rows_.size(); ++i) ScatterRows(state[i], beginning_, rows_[i]);
}

int64_t StepRollback::bytes() const {
  int64_t bytes = 0;
  for (const auto* tensors : {&saved_, &rows_}) {
    for (const at::Tensor& tensor : *tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  }
  return bytes;
}

}  // namespace genie_env
