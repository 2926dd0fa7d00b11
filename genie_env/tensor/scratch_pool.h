#pragma once

#include <mutex>
#include <utility>
#include <vector>

namespace genie_env {

/// Reuses buffers between steps: fresh memory is expensive, because the system hands it out page by
/// page and fills it with zeros. A buffer has one owner at a time. Thread-safe.
template <typename Scratch>
class ScratchPool {
 public:
  /// Returns a buffer that was given back and for which fits(buffer) is true, otherwise make().
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

  /// Gives a buffer back for the next Take.
  void Give(Scratch scratch) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(scratch));
  }

 private:
  std::mutex mutex_;
  std::vector<Scratch> free_;
};

}  // namespace genie_env
