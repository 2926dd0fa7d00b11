#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

namespace genie_env {

/// A loop that several threads share: its owner runs it, and threads that have nothing to do take
/// iterations. Nobody is waited for but those who have taken one.
class alignas(64) SharedLoop {
 public:
  using Call = void (*)(const void* task, int64_t index, void* scratch);

  /// By the owner: call(task, index, scratch) for 0 .. count - 1, on all threads that help, each
  /// with its own scratch. Returns when all have returned, and throws what the first that failed
  /// threw. count: below 2^20.
  void Run(int64_t count, Call call, const void* task, void* scratch);

  /// By any thread: takes one iteration. False where none is left.
  bool Help(void* scratch);

 private:
  // The loop's number, its count, and the next iteration: one word, so that a thread that takes
  // an iteration knows that `call_` and `task_` were those of its loop.
  std::atomic<uint64_t> state_{0};
  std::atomic<Call> call_{nullptr};
  std::atomic<const void*> task_{nullptr};
  std::atomic<int64_t> done_{0};
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;  // written by the thread that has set failed_
};

/// The loops of one row's computation. Scratch: the buffers of one thread.
template <typename Scratch>
class RowLoops {
 public:
  RowLoops(SharedLoop& loop, const std::atomic<int64_t>& idle, Scratch& own)
      : loop_(loop), idle_(idle), own_(own) {}

  /// Threads that would share a loop which began now.
  int64_t threads() const { return 1 + idle_.load(std::memory_order_relaxed); }

  /// Calls task(index, scratch of the thread) for 0 .. count - 1.
  template <typename Task>
  void ForEach(int64_t count, const Task& task) const {
    if (threads() == 1) {
      for (int64_t index = 0; index < count; ++index) task(index, own_);
      return;
    }
    const auto call = [](const void* it, int64_t index, void* scratch) {
      (*static_cast<const Task*>(it))(index, *static_cast<Scratch*>(scratch));
    };
    loop_.Run(count, call, &task, &own_);
  }

  /// Calls task(first, size, scratch) for ranges of whole groups that cover 0 .. size - 1, one a
  /// thread. size: a multiple of `group`.
  template <typename Task>
  void ForEachRange(int64_t size, int64_t group, const Task& task) const {
    const int64_t groups = size / group, pieces = threads();
    const int64_t range = (groups + pieces - 1) / pieces * group;
    ForEach(range == 0 ? 0 : (size + range - 1) / range, [&](int64_t index, Scratch& scratch) {
      task(index * range, size - index * range < range ? size - index * range : range, scratch);
    });
  }

 private:
  SharedLoop& loop_;
  const std::atomic<int64_t>& idle_;
  Scratch& own_;
};

/// Rows that a few threads compute: each takes the next one when it is done with one, so that a
/// core which is busy with other work delays the others little, and those that find none left share
/// the loops of rows that are still computed.
class SharedRows {
 public:
  /// threads: the most that will call Work, at least 1.
  SharedRows(int64_t rows, int64_t threads)
      : rows_(rows), loops_(std::make_unique<SharedLoop[]>(static_cast<size_t>(threads))) {}

  /// By each thread, once: calls task(loops, row) for the rows that it takes. Returns when no row
  /// is computed any more, and throws what task threw. A thread that comes late, or never, is not
  /// waited for.
  template <typename Scratch, typename Task>
  void Work(Scratch& scratch, const Task& task) {
    Compute(scratch, task);
    Help(&scratch);
  }

 private:
  /// A thread that computes rows.
  class Computing {
   public:
    explicit Computing(SharedRows& rows) : rows_(rows) { ++rows_.computing_; }
    ~Computing() { --rows_.computing_; }
    Computing(const Computing&) = delete;
    Computing& operator=(const Computing&) = delete;

   private:
    SharedRows& rows_;
  };

  template <typename Scratch, typename Task>
  void Compute(Scratch& scratch, const Task& task) {
    const Computing computing(*this);
    const RowLoops<Scratch> loops(loops_[entered_++], idle_, scratch);
    for (int64_t row = next_++; row < rows_; row = next_++) task(loops, row);
  }

  void Help(void* scratch);

  int64_t rows_;
  std::unique_ptr<SharedLoop[]> loops_;  // one a thread
  std::atomic<int64_t> next_{0}, entered_{0}, computing_{0}, idle_{0};
};

}  // namespace genie_env
