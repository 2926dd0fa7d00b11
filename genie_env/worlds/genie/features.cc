#include "genie_env/worlds/genie/features.h"

#include <ATen/ops/zeros.h>

namespace genie_env {

at::Tensor FeatureAreas(const ClipSizes& clip) {
  const int64_t rows = clip.height / clip.patch, columns = clip.columns();
  at::Tensor areas = at::zeros({DynamicsSizes::kFeatureAreas, rows, columns}, at::kFloat);
  for (int64_t area = 0; area < DynamicsSizes::kFeatureAreas; ++area) {
    const int64_t height = (rows + 1) / 2, width = (columns + 1) / 2;
    areas.select(0, area)
        .narrow(0, area / 2 == 0 ? 0 : rows - height, height)
        .narrow(1, area % 2 == 0 ? 0 : columns - width, width)
        .fill_(1.0 / static_cast<double>(height * width));
  }
  return areas.flatten(1);
}

}  // namespace genie_env
