#include "genie_env/tensor/device.h"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/empty.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <charconv>
#include <stdexcept>

#include "genie_env/core/available_memory.h"

namespace genie_env {
namespace {

// The number after the colon; -1 where it is no number.
int IndexOf(const std::string& text) {
  int index = -1;
  const char* end = text.data() + text.size();
  const auto [parsed, error] = std::from_chars(text.data(), end, index);
  return error == std::errc() && parsed == end ? index : -1;
}

}  // namespace

at::Device ParseDevice(const std::string& name) {
  const auto refuse = [&](const std::string& why) {
    throw std::invalid_argument("device is \"" + name + "\"" + why);
  };
  const size_t colon = name.find(':');
  const std::string type = name.substr(0, colon);
  const int index = colon == std::string::npos ? 0 : IndexOf(name.substr(colon + 1));
  if ((type != "cpu" && type != "cuda") || index < 0) {
    refuse(", expected \"cpu\", \"cuda\" or \"cuda:1\"");
  }
  if (type == "cpu") {
    if (index > 0) refuse(", but LibTorch has one CPU device: give \"cpu\"");
    return at::kCPU;
  }
  const int count = at::globalContext().hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0;
  if (index >= count) {
    refuse(", but LibTorch sees " + std::to_string(count) +
           " CUDA devices here: give \"cpu\", or a smaller number");
  }
  return {at::kCUDA, static_cast<at::DeviceIndex>(index)};
}

at::Tensor ToDevice(const at::Tensor& host, at::Device device) {
  if (device.is_cpu()) return host;
  // A copy from pageable memory would be synchronous.
  const at::Tensor pinned = at::empty(host.sizes(), host.options().pinned_memory(true));
  pinned.copy_(host);
  return pinned.to(device, /*non_blocking=*/true);
}

std::optional<int64_t> FreeMemory(at::Device device) {
  if (device.is_cpu()) return AvailableMemory();
  c10::DeviceAllocator* allocator = c10::getDeviceAllocator(device.type());
  const auto free = static_cast<int64_t>(allocator->getMemoryInfo(device.index()).first);
  if (!allocator->initialized()) return free;
  const auto stats = allocator->getDeviceStats(device.index());
  const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return free + stats.reserved_bytes[all].current - stats.allocated_bytes[all].current;
}

bool HasOpenMp() {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

}  // namespace genie_env
