#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <string>

namespace genie_env {

/// "float32 [8, 64]": what a tensor is, in NumPy's words, for errors.
std::string Describe(const at::Tensor& tensor);
std::string Describe(at::ScalarType dtype, at::IntArrayRef shape);

/// Throws std::invalid_argument unless the tensor has this dtype and shape.
void CheckTensor(const at::Tensor& tensor, const char* name, at::ScalarType dtype,
                 at::IntArrayRef shape);

/// int64 [R] with 0 <= row < count, or std::invalid_argument. Returns a contiguous copy or view of
/// it on the CPU.
at::Tensor CheckRows(const at::Tensor& rows, const char* name, int64_t count);

/// While it lives, this thread computes as a frozen world does: without gradients, and in the
/// world's own precision whatever autocast region the caller is in. (Tensors made under torch's
/// InferenceMode would not do: no caller could train on the observations.)
class FrozenScope {
 private:
  c10::AutoGradMode no_gradients_{false};
  c10::impl::ExcludeDispatchKeyGuard no_autocast_{c10::autocast_dispatch_keyset};
};

}  // namespace genie_env
