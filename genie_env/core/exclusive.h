#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace genie_env {

/// Lets the calls of one thread at a time use an object. A call beside one of another thread is
/// refused: it does not wait. Calls within a call of the same thread are let through. Thread-safe.
///
///     Exclusive calls{"environment"};
///     const Exclusive::Call call = calls.Enter("step");  // until the end of the scope
class Exclusive {
 public:
  /// `object`: what errors call it.
  explicit Exclusive(std::string object) : object_(std::move(object)) {}

  /// A call in progress; it ends with its scope.
  class Call {
   public:
    ~Call() { calls_->Leave(); }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    friend class Exclusive;
    explicit Call(Exclusive* calls) : calls_(calls) {}
    Exclusive* calls_;
  };

  /// Begins a call that may change the object. Throws Busy, naming both calls, while another thread
  /// is in one. `call` lives as long as the program.
  Call Enter(const char* call) { return Begin(call, /*reads=*/false); }

  /// Begins a call that only reads the object: calls that read may run beside each other.
  Call Read(const char* call) { return Begin(call, /*reads=*/true); }

  /// Waits for the calls of other threads instead; calls that come meanwhile are refused. Not
  /// within a call of this thread: see InCall.
  Call Wait(const char* call);

  /// Whether this thread is in a call that may change the object.
  bool InCall() const;

 private:
  Call Begin(const char* call, bool reads);
  void Leave();

  std::string object_;
  mutable std::mutex mutex_;
  std::condition_variable left_;
  const char* call_ = nullptr;  // in progress, the outermost
  bool reads_ = false;
  std::thread::id thread_;  // that of a call which does not read
  int depth_ = 0;           // calls in progress: within each other, or beside each other
  int waiting_ = 0;         // calls that wait for them
};

}  // namespace genie_env
