#include "genie_env/worlds/genie/mask_schedule.h"

#include <cmath>
#include <numbers>

namespace genie_env {

std::vector<int64_t> MaskSchedule(int64_t positions, int64_t passes) {
  std::vector<int64_t> masked;
  for (int64_t pass = 1; pass < passes; ++pass) {
    const double share =
        std::cos(std::numbers::pi / 2 * static_cast<double>(pass) / static_cast<double>(passes));
    masked.push_back(static_cast<int64_t>(static_cast<double>(positions) * share));
  }
  masked.push_back(0);
  return masked;
}

}  // namespace genie_env
