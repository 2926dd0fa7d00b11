#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

namespace genie_env {

/// The device that `name` stands for: "cpu" (or "cpu:0"), "cuda" (the first) or "cuda:1". Throws
/// std::invalid_argument on anything else and on a GPU that is not there. What it returns is what a
/// tensor there says of itself, so that the two can be compared.
at::Device ParseDevice(const std::string& name);

/// A contiguous tensor on the CPU, on `device`. On a GPU it arrives in its turn, from a copy that
/// nobody can write to: the caller need not wait.
at::Tensor ToDevice(const at::Tensor& host, at::Device device);

/// Bytes that can still be allocated there: on the CPU what the system can give without swapping,
/// on a GPU what is free or kept in reserve by LibTorch. Empty where the system does not say.
std::optional<int64_t> FreeMemory(at::Device device);

/// Whether this library was compiled with OpenMP, so that its loops run on all of torch's threads:
/// without it at::parallel_for is a plain loop, and says nothing.
bool HasOpenMp();

}  // namespace genie_env
