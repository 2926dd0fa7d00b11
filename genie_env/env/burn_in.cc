#include "genie_env/env/burn_in.h"

#include <ATen/ops/ones.h>

namespace genie_env {

WorldState BurnIn(const World& world, const at::Tensor& frames, const at::Tensor& actions,
                  RowCounters& rng, const std::function<void()>& between_frames) {
  WorldState state = world.MakeState(frames.size(0));
  const at::Tensor all = at::ones({frames.size(0)}, at::kBool);
  world.Begin(state, all, {.frames = frames.select(1, 0).contiguous()}, rng);
  for (int64_t t = 1; t < frames.size(1); ++t) {
    if (between_frames) between_frames();
    for (RowCounter& counter : rng) ++counter.step;
    world.Follow(state, actions.select(1, t - 1).contiguous(), frames.select(1, t).contiguous(),
                 rng, world.spec().observations.front().name);
  }
  return state;
}

}  // namespace genie_env
