#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

namespace genie_env {

/// The device called `name`: "cpu" (or "cpu:0"), "cuda" (the first GPU) or "cuda:1". Throws
/// std::invalid_argument on other names and where LibTorch sees no such GPU. The result equals
/// Tensor::device() of a tensor on that device.
at::Device ParseDevice(const std::string& name);

/// Copies a contiguous tensor from the CPU to `device`. A copy to a GPU is asynchronous, in stream
/// order, and reads from a private copy: the caller may write to `host` at once.
at::Tensor ToDevice(const at::Tensor& host, at::Device device);

/// Bytes that can still be allocated on `device`: on the CPU, memory that is available without
/// swapping, within the limits of the process's control groups; on a GPU, memory that is free or
/// reserved by LibTorch. Empty where it is unknown.
std::optional<int64_t> FreeMemory(at::Device device);

/// Whether this library was compiled with OpenMP, so that its loops run on all of torch's threads.
/// Without OpenMP, at::parallel_for silently runs on one thread.
bool HasOpenMp();

}  // namespace genie_env
