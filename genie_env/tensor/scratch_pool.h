#pragma once

#include <mutex>
#include <utility>
#include <vector>

namespace genie_env {

/// Keeps what steps have used for the next ones: fresh memory costs as much as much of the work
/// does, because the system hands it out page by page, filled with zeros. Thread-safe: who takes a
/// scratch has it alone.
template <typename Scratch>
class ScratchPool {
 public:
  /// One that was given back, where there is one and fits(it) is true; else make().
  template <typename Fits, typename Make>
  Scratch Take(const Fits& fits, const Make& make) {
    {
      const std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        Scratch scratch = std::move(free_.back());
        free_.pop_back();
        if (fits(scratch)) return scratch;
      }
    }
    return make();
  }

  void Give(Scratch scratch) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(scratch));
  }

 private:
  std::mutex mutex_;
  std::vector<Scratch> free_;
};

}  // namespace genie_env
