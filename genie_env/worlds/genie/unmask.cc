#include "genie_env/worlds/genie/unmask.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "genie_env/core/random.h"

namespace genie_env {
namespace {

float LogSum(const float* logits, int64_t codes, float top) {
  float sum = 0;
  for (int64_t i = 0; i < codes; ++i) sum += std::exp(logits[i] - top);
  return top + std::log(sum);
}

int64_t Sample(const float* logits, int64_t codes, float top, float temperature, float uniform) {
  const auto weight = [&](int64_t i) { return std::exp((logits[i] - top) / temperature); };
  float total = 0, sum = 0;
  for (int64_t i = 0; i < codes; ++i) total += weight(i);
  // Above 0, and no more than the total, which the sum becomes: a code that reaches it raised it.
  const float aim = std::min(std::max(uniform, kLeastUniform) * total, total);
  int64_t code = 0;
  while ((sum += weight(code)) < aim) ++code;
  return code;
}

}  // namespace

void UnmaskOnCpu(const MaskGitPass& pass) {
  std::vector<std::pair<float, int64_t>> ranked;  // the first is unmasked first
  for (int64_t row = 0; row < pass.rows; ++row) {
    const int64_t first = row * pass.positions;
    const auto logits = [&](int64_t place) { return pass.logits + place * pass.codes; };
    const auto top = [&](int64_t place) {
      return *std::max_element(logits(place), logits(place) + pass.codes);
    };
    ranked.clear();
    for (int64_t place = first; place < first + pass.positions; ++place) {
      if (pass.tokens[place] != pass.codes) continue;
      const float rank = pass.order != nullptr
                             ? pass.order[place]
                             : top(place) - LogSum(logits(place), pass.codes, top(place));
      ranked.emplace_back(-rank, place);
    }
    std::sort(ranked.begin(), ranked.end());
    for (int64_t i = 0; i < pass.count; ++i) {
      const int64_t place = ranked[i].second;
      const int64_t token = pass.given != nullptr
                                ? pass.given[place]
                                : Sample(logits(place), pass.codes, top(place),
                                         pass.temperature[row], pass.uniform[place]);
      pass.surprise[row] += LogSum(logits(place), pass.codes, top(place)) - logits(place)[token];
      pass.tokens[place] = token;
    }
  }
}

}  // namespace genie_env
