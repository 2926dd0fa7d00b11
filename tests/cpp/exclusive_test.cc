#include "genie_env/core/exclusive.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "files.h"
#include "genie_env/core/error.h"

namespace genie_env {
namespace {

/// Runs it in another thread, to its end.
template <typename Task>
void Elsewhere(const Task& task) {
  std::thread(task).join();
}

TEST(Exclusive, RefusesACallBesideOneOfAnotherThread) {
  Exclusive calls{"environment"};
  {
    const Exclusive::Call outer = calls.Enter("step");
    const Exclusive::Call inner = calls.Enter("render");  // within it
    EXPECT_TRUE(calls.InCall());
    Elsewhere([&] {
      EXPECT_FALSE(calls.InCall());
      const std::string words =
          ": another thread is in step of this environment; call it when that is over, or use one "
          "environment per thread";
      EXPECT_EQ(TextOf<Busy>([&] { calls.Enter("reset"); }), "reset" + words);
      EXPECT_EQ(TextOf<Busy>([&] { calls.Read("render"); }), "render" + words);
    });
  }
  EXPECT_FALSE(calls.InCall());
  Elsewhere([&] { EXPECT_NO_THROW(calls.Enter("reset")); });
}

TEST(Exclusive, LetsReadersRunBesideEachOther) {
  Exclusive calls{"network"};
  const Exclusive::Call reading = calls.Read("encode");
  Elsewhere([&] {
    EXPECT_NO_THROW(calls.Read("decode"));
    EXPECT_THROW(calls.Enter("update"), Busy);
  });
}

TEST(Exclusive, WaitsForTheCallInProgressAndRefusesOthersMeanwhile) {
  Exclusive calls{"environment"};
  std::atomic<bool> closed = false;
  std::thread closing;
  {
    const Exclusive::Call step = calls.Enter("step");
    closing = std::thread([&] {
      const Exclusive::Call close = calls.Wait("close");
      closed = true;
    });
    // What another thread calls is refused, before and after the other one begins to wait.
    Elsewhere([&] { EXPECT_THROW(calls.Enter("reset"), Busy); });
    EXPECT_FALSE(closed);
    EXPECT_NO_THROW(calls.Enter("render"));  // within the step
  }
  closing.join();
  EXPECT_TRUE(closed);
}

TEST(Exclusive, ManyThreadsNeverMeet) {
  Exclusive calls{"environment"};
  int unguarded = 0, done = 0;
  std::atomic<int> refused = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 25'000; ++i) {
        try {
          const Exclusive::Call call = calls.Enter("step");
          ++unguarded;
        } catch (const Busy&) {
          ++refused;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  done = unguarded;
  EXPECT_EQ(done + refused, 100'000);
}

}  // namespace
}  // namespace genie_env
