#include "genie_env/core/exclusive.h"

#include "genie_env/core/error.h"

namespace genie_env {

Exclusive::Call Exclusive::Begin(const char* call, bool reads) {
  const std::lock_guard lock(mutex_);
  const bool within = depth_ > 0 && !reads_ && thread_ == std::this_thread::get_id();
  const bool beside = depth_ > 0 && reads_ && reads;
  if (!within && (waiting_ > 0 || (depth_ > 0 && !beside))) {
    throw Busy(std::string(call) + ": another thread is in " + call_ + " of this " + object_ +
               "; call it when that is over, or use one " + object_ + " per thread");
  }
  if (depth_ == 0) {
    call_ = call;
    reads_ = reads;
    thread_ = std::this_thread::get_id();
  }
  ++depth_;
  return Call(this);
}

Exclusive::Call Exclusive::Wait(const char* call) {
  std::unique_lock lock(mutex_);
  ++waiting_;
  left_.wait(lock, [&] { return depth_ == 0; });
  --waiting_;
  call_ = call;
  reads_ = false;
  thread_ = std::this_thread::get_id();
  depth_ = 1;
  return Call(this);
}

bool Exclusive::InCall() const {
  const std::lock_guard lock(mutex_);
  return depth_ > 0 && !reads_ && thread_ == std::this_thread::get_id();
}

void Exclusive::Leave() {
  const std::lock_guard lock(mutex_);
  if (--depth_ == 0) left_.notify_one();
}

}  // namespace genie_env
