#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace genie_env {

/// Uniform numbers at which rounding decides: 0, 1, and the smallest and largest that FillUniform
/// gives, besides ordinary ones.
inline std::vector<float> AdversarialUniforms() {
  std::vector<float> uniforms{0.0f, 1.0f, 0x1p-149f, 0x1p-25f, 0.5f};
  for (int n = 1; n < 64; n += 2) {
    uniforms.push_back(static_cast<float>(n) * 0x1p-24f);
    uniforms.push_back(1.0f - static_cast<float>(n) * 0x1p-24f);
  }
  return uniforms;
}

/// Rows of logits with outcomes of no weight at the end, at the beginning and in between, of many
/// lengths and spreads.
inline std::vector<std::vector<float>> AdversarialLogits() {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  std::mt19937 generator(3);
  std::normal_distribution<float> normal(0, 3);
  std::vector<std::vector<float>> rows;
  for (const size_t codes : {2, 5, 16, 17, 32, 64, 100, 1024}) {
    for (const float without : {kNever, -3e38f, -1e4f, -60.0f}) {
      for (int place = 0; place < 4; ++place) {
        std::vector<float> row(codes);
        for (float& logit : row) logit = normal(generator);
        if (place == 0) std::fill(row.begin() + 1, row.end(), without);
        if (place == 1) std::fill(row.begin(), row.end() - 1, without);
        if (place == 2)
          std::fill(row.begin() + static_cast<int64_t>(codes / 2), row.end(), without);
        if (place == 3) {
          for (size_t i = 1; i < codes; i += 2) row[i] = without;
        }
        rows.push_back(std::move(row));
      }
    }
  }
  return rows;
}

/// Whether the outcome has a part of the distribution that float32 can tell from nothing.
inline bool HasWeight(const std::vector<float>& logits, double temperature, int64_t outcome) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float logit : logits) total += std::exp((logit - top) / temperature);
  return std::exp((logits.at(static_cast<size_t>(outcome)) - top) / temperature) / total > 1e-15;
}

}  // namespace genie_env
