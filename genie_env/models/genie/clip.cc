#include "genie_env/models/genie/clip.h"

#include <ATen/TensorOperators.h>

#include <stdexcept>
#include <string>

#include "genie_env/models/model.h"
#include "genie_env/tensor/check_tensor.h"

namespace genie_env {

at::Tensor ClipPixels(const at::Tensor& frames, const ClipSizes& sizes, int64_t least,
                      const char* network) {
  CheckTensor(frames, "frames", at::kByte, {-1, -1, sizes.height, sizes.width, 3});
  if (frames.size(0) < 1 || frames.size(1) < least) {
    throw std::invalid_argument("frames: got " + Describe(frames) + ", but " + network +
                                " expects clips of at least " + std::to_string(least) +
                                (least == 1 ? " frame" : " frames"));
  }
  return FromBytes(frames);
}

at::Tensor ToPatches(const at::Tensor& pixels, const ClipSizes& sizes) {
  return pixels.unflatten(3, {-1, sizes.patch})
      .unflatten(2, {-1, sizes.patch})  // [N, T, rows, patch, columns, patch, 3]
      .transpose(3, 4)
      .flatten(4)
      .flatten(2, 3);
}

at::Tensor FromPatches(const at::Tensor& patches, const ClipSizes& sizes) {
  return patches.unflatten(-1, {sizes.patch, sizes.patch, 3})
      .unflatten(2, {sizes.height / sizes.patch, sizes.width / sizes.patch})
      .transpose(3, 4)
      .flatten(4, 5)
      .flatten(2, 3);
}

at::Tensor FromBytes(const at::Tensor& frames) {
  return frames.to(at::kFloat).mul_(1.0 / 255).sub_(0.5);
}

at::Tensor ToBytes(const at::Tensor& pixels) {
  return pixels.add(0.5).mul_(255).round_().clamp_(0, 255).to(at::kByte);
}

at::Tensor FrameErrors(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).square().flatten(2).mean(2);
}

}  // namespace genie_env
