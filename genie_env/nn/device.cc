#include "genie_env/nn/device.h"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include <charconv>
#include <stdexcept>

namespace genie_env {
namespace {

// What follows the colon; -1 where it is no number.
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

bool HasOpenMp() {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

}  // namespace genie_env
