#include "genie_env/tensor/shared_rows.h"

#include <chrono>
#include <thread>

namespace genie_env {
namespace {

constexpr int kBits = 20;
constexpr uint64_t kMask = (uint64_t{1} << kBits) - 1;

uint64_t NextOf(uint64_t state) { return state & kMask; }
uint64_t CountOf(uint64_t state) { return (state >> kBits) & kMask; }

/// Waits for another thread: at first at full speed, because a loop takes microseconds, then
/// leaving the core to others, at last asleep.
class Waiting {
 public:
  void Once() {
    if (++times_ < kSpins) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    } else if (times_ < kSpins + kYields) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }
  void Again() { times_ = 0; }

 private:
  static constexpr int kSpins = 2000, kYields = 100;
  int times_ = 0;
};

}  // namespace

void SharedLoop::Run(int64_t count, Call call, const void* task, void* scratch) {
  // No other thread is in a loop of this owner: the last one has returned.
  call_.store(call, std::memory_order_relaxed);
  task_.store(task, std::memory_order_relaxed);
  done_.store(0, std::memory_order_relaxed);
  failed_.store(false, std::memory_order_relaxed);
  const uint64_t number = (state_.load(std::memory_order_relaxed) >> (2 * kBits)) + 1;
  state_.store(number << (2 * kBits) | static_cast<uint64_t>(count) << kBits,
               std::memory_order_release);
  while (Help(scratch)) {
  }
  for (Waiting waiting; done_.load(std::memory_order_acquire) < count;) waiting.Once();
  if (failed_.load(std::memory_order_relaxed)) std::rethrow_exception(std::exchange(error_, {}));
}

bool SharedLoop::Help(void* scratch) {
  uint64_t state = state_.load(std::memory_order_acquire);
  while (NextOf(state) < CountOf(state)) {
    const Call call = call_.load(std::memory_order_relaxed);
    const void* task = task_.load(std::memory_order_relaxed);
    if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel,
                                      std::memory_order_acquire)) {
      continue;
    }
    try {
      call(task, static_cast<int64_t>(NextOf(state)), scratch);
    } catch (...) {
      if (!failed_.exchange(true)) error_ = std::current_exception();
    }
    done_.fetch_add(1, std::memory_order_release);
    return true;
  }
  return false;
}

void SharedRows::Help(void* scratch) {
  ++idle_;
  for (Waiting waiting; computing_ > 0; waiting.Once()) {
    const int64_t entered = entered_;
    for (int64_t i = 0; i < entered; ++i) {
      while (loops_[i].Help(scratch)) waiting.Again();
    }
  }
  --idle_;
}

}  // namespace genie_env
