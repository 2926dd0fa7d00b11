#include "genie_env/worlds/genie/mask_schedule.h"

#include <cmath>
#include <numbers>

namespace genie_env {

std::vector<int64_t> HiddenAfterPasses(int64_t positions, int64_t passes) {
  std::vector<int64_t> hidden;
  for (int64_t pass = 1; pass < passes; ++pass) {
    const double share =
        std::cos(std::numbers::pi / 2 * static_cast<double>(pass) / static_cast<double>(passes));
    hidden.push_back(static_cast<int64_t>(static_cast<double>(positions) * share));
  }
  hidden.push_back(0);
  return hidden;
}

}  // namespace genie_env
