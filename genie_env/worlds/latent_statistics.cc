#include "genie_env/worlds/latent_statistics.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "genie_env/io/json_check.h"
#include "genie_env/io/safetensors.h"

namespace genie_env {
namespace {

constexpr const char* kMean = "support.mean";
constexpr const char* kWhitening = "support.whitening";
constexpr int64_t kRowsAtOnce = 8;  // a column of the whitening is read once for all of them

}  // namespace

LatentStatistics::LatentStatistics(const at::Tensor& mean, const at::Tensor& whitening)
    : mean_(mean.contiguous()), columns_(whitening.t().contiguous()) {}

at::Tensor LatentStatistics::Distance(const at::Tensor& latents) const {
  // No matrix product of torch: its sums depend on the size of the batch.
  const at::Tensor host = latents.cpu().contiguous();
  const int64_t rows = host.size(0), size = host.size(1);
  at::Tensor distance = at::empty({rows}, at::kFloat);
  const float* mean = mean_.const_data_ptr<float>();
  const float* columns = columns_.const_data_ptr<float>();
  at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> whitened(static_cast<size_t>(kRowsAtOnce * size));
    for (int64_t first = begin; first < end; first += kRowsAtOnce) {
      const int64_t count = std::min(kRowsAtOnce, end - first);
      const float* latents_of = host.const_data_ptr<float>() + first * size;
      std::fill(whitened.begin(), whitened.end(), 0.0f);
      for (int64_t i = 0; i < size; ++i) {
        const float* column = columns + i * size;
        for (int64_t row = 0; row < count; ++row) {
          const float difference = latents_of[row * size + i] - mean[i];
          float* white = whitened.data() + row * size;
          for (int64_t j = i; j < size; ++j) white[j] += column[j] * difference;
        }
      }
      for (int64_t row = 0; row < count; ++row) {
        double squares = 0;
        for (int64_t j = 0; j < size; ++j) {
          const double element = whitened[static_cast<size_t>(row * size + j)];
          squares += element * element;
        }
        distance.mutable_data_ptr<float>()[first + row] = static_cast<float>(std::sqrt(squares));
      }
    }
  });
  return distance.to(latents.device());
}

void ExpectLatentStatistics(const WorldDirectory& directory, int64_t size,
                            std::map<std::string, std::vector<int64_t>>& shapes) {
  const SafetensorsFile file(directory.weights.bytes(), directory.weights_file().string());
  if (!file.tensors().contains(kMean)) return;
  shapes.insert({{kMean, {size}}, {kWhitening, {size, size}}});
}

std::optional<LatentStatistics> LatentStatisticsOf(
    const std::map<std::string, at::Tensor>& tensors) {
  const auto mean = tensors.find(kMean);
  if (mean == tensors.end()) return std::nullopt;
  return LatentStatistics(mean->second, tensors.at(kWhitening));
}

void ThrowNoLatentStatistics(const std::string& name) {
  throw std::invalid_argument(
      "latent_distance: the world " + Quoted(name) +
      " has no statistics of the latents that it was trained on; leave it out, or freeze the world "
      "again (genie-env freeze writes them)");
}

}  // namespace genie_env
