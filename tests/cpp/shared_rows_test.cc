#include "genie_env/tensor/shared_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace genie_env {
namespace {

using testing::Each;

/// Calls use(thread) on `count` threads.
template <typename Use>
void OnThreads(int count, const Use& use) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < count; ++thread) threads.emplace_back([&, thread] { use(thread); });
  for (std::thread& thread : threads) thread.join();
}

constexpr int64_t kSize = 37 * 8;

/// Each row counts through a few loops, each of which needs all of the one before.
std::vector<int64_t> CountedRows(int64_t rows, int threads) {
  std::vector<int64_t> totals(static_cast<size_t>(rows));
  SharedRows shared(rows, threads);
  OnThreads(threads, [&](int) {
    int64_t scratch = 0;
    shared.Work(scratch, [&](const RowLoops<int64_t>& loops, int64_t row) {
      std::vector<int64_t> cells(kSize, row);
      for (int loop = 0; loop < 50; ++loop) {
        const int64_t before = cells.back();
        loops.ForEachRange(kSize, 8, [&](int64_t first, int64_t size, int64_t& own) {
          for (int64_t i = first; i < first + size; ++i) {
            own = cells[static_cast<size_t>(i)];
            cells[static_cast<size_t>(i)] = own + before;
          }
        });
      }
      EXPECT_THAT(cells, Each(cells.front()));
      totals[static_cast<size_t>(row)] = cells.front();
    });
  });
  return totals;
}

TEST(SharedRows, ThreadsShareRowsAndTheirLoops) {
  const std::vector<int64_t> alone = CountedRows(9, 1);
  for (const int threads : {2, 3, 8}) EXPECT_EQ(CountedRows(9, threads), alone) << threads;
  for (const int64_t rows : {0, 1, 2}) {
    EXPECT_EQ(CountedRows(rows, 4), CountedRows(rows, 1)) << rows;
  }
}

TEST(SharedRows, AThreadWithoutARowTakesPartOfALoop) {
  SharedRows shared(1, 2);
  std::atomic<int> taking{0};
  OnThreads(2, [&](int) {
    int scratch = 0;
    shared.Work(scratch, [&](const RowLoops<int>& loops, int64_t) {
      while (loops.threads() < 2) std::this_thread::yield();
      loops.ForEach(2, [&](int64_t, int&) {
        ++taking;
        while (taking < 2) std::this_thread::yield();  // both at the same time
      });
    });
  });
  EXPECT_EQ(taking, 2);
}

TEST(SharedRows, AThreadThatNeverComesIsNotWaitedFor) {
  SharedRows shared(3, 4);
  int scratch = 0;
  int64_t rows = 0;
  shared.Work(scratch, [&](const RowLoops<int>& loops, int64_t) {
    loops.ForEach(5, [&](int64_t, int&) { ++rows; });
  });
  EXPECT_EQ(rows, 15);
}

TEST(SharedRows, WhatFailsIsThrownToItsRowAlone) {
  for (int round = 0; round < 20; ++round) {
    SharedRows shared(2, 3);
    std::atomic<int> thrown{0}, done{0};
    OnThreads(3, [&](int) {
      int scratch = 0;
      try {
        shared.Work(scratch, [&](const RowLoops<int>& loops, int64_t row) {
          const auto task = [&](int64_t index, int&) {
            if (row == 0 && index % 2 == 1) throw std::runtime_error("odd");
          };
          try {
            loops.ForEach(8, task);
            loops.ForEach(8, [&](int64_t, int&) { ++done; });
          } catch (const std::runtime_error& error) {
            EXPECT_EQ(error.what(), std::string("odd"));
            throw;
          }
        });
      } catch (const std::runtime_error&) {
        ++thrown;
      }
    });
    EXPECT_EQ(thrown, 1);
    EXPECT_EQ(done, 8);
  }
}

}  // namespace
}  // namespace genie_env
