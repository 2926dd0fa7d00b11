#include "genie_env/worlds/vision_memory/panel_tasks.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <tuple>
#include <vector>

namespace genie_env {
namespace {

TEST(PanelTasks, EachRunsOnceWhateverTheThreads) {
  const int before = at::get_num_threads();
  for (const int threads : {1, 2, 5}) {
    at::set_num_threads(threads);
    for (const auto& [panels, rows] :
         std::vector<std::tuple<int64_t, int64_t>>{{32, 1}, {4, 131}, {1, 64}, {3, 0}}) {
      std::vector<std::atomic<int64_t>> computed(panels * rows);
      ForEachTask(panels, rows, /*bf16=*/false, 64,
                  [&](int64_t panel, int64_t first, int64_t count, float* products) {
                    std::fill_n(products, count * 64, 0.0f);
                    // A thread that is delayed: others take what it has not begun.
                    if (panel == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
                    for (int64_t row = 0; row < count; ++row) {
                      ++computed[panel * rows + first + row];
                    }
                  });
      for (const std::atomic<int64_t>& times : computed) EXPECT_EQ(times, 1);
    }
  }
  at::set_num_threads(before);
}

}  // namespace
}  // namespace genie_env
