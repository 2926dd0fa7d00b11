#include <algorithm>
#include <utility>

#include "genie_env/worlds/vision_memory/frozen_decoder.h"

namespace genie_env {
namespace {

class DecoderTorch final : public FrozenDecoder {
 public:
  DecoderTorch(std::shared_ptr<const Vision> vision, at::ScalarType dtype)
      : vision_(std::move(vision)), dtype_(dtype) {}

  void Decode(const at::Tensor& z, const at::Tensor& frames) const override {
    for (int64_t first = 0; first < z.size(0); first += kFramesAtOnce) {
      const int64_t count = std::min(kFramesAtOnce, z.size(0) - first);
      const at::Tensor pixels = vision_->Decode(z.narrow(0, first, count).to(dtype_));
      frames.narrow(0, first, count).copy_(ToFrames(pixels));
    }
  }

 private:
  static constexpr int64_t kFramesAtOnce =
      256;  // the largest layer takes 120 KB a frame of 64 x 64

  std::shared_ptr<const Vision> vision_;
  at::ScalarType dtype_;
};

}  // namespace

std::unique_ptr<const FrozenDecoder> MakeDecoderTorch(std::shared_ptr<const Vision> vision,
                                                      at::ScalarType dtype) {
  return std::make_unique<DecoderTorch>(std::move(vision), dtype);
}

}  // namespace genie_env
