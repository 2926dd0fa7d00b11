#include "genie_env/worlds/action_config.h"

#include <limits>

#include "genie_env/core/limits.h"

namespace genie_env {

ActionSpec ParseActions(const JsonFields& actions) {
  constexpr size_t kMost = kMaxActions;
  constexpr int64_t kFurthest = std::numeric_limits<int64_t>::max() / 2;
  if (actions.Choice("type", "discrete", "box")) {
    return {.meanings = actions.Texts("meanings", kMost),
            .start = actions.Integer("start", -kFurthest, kFurthest)};
  }
  ActionBox box{.shape = actions.Integers("shape", 8, 1, kMaxActions), .low = {}, .high = {}};
  int64_t numel = 1;
  for (const int64_t side : box.shape) {
    numel *= side;
    if (numel > kMaxActions) {
      actions.Fail("shape", "at most " + std::to_string(kMaxActions) + " numbers");
    }
  }
  box.low = actions.Numbers("low", static_cast<size_t>(numel));
  box.high = actions.Numbers("high", static_cast<size_t>(numel));
  for (size_t i = 0; i < box.low.size(); ++i) {
    if (!(box.low[i] < box.high[i])) actions.Fail("high", "numbers above those of \"low\"");
  }
  return {.box = std::move(box)};
}

}  // namespace genie_env
