#pragma once
// Threads for the few connections that need one each: exec, attach, port-forward, followed logs.

#include <atomic>
#include <functional>
#include <list>
#include <stop_token>
#include <thread>

#include "base/mutex.hpp"

namespace skiff::apiserver {

/// Owns and joins its threads. Any thread may start one.
class Sessions {
 public:
  explicit Sessions(size_t limit) : limit_(limit) {}
  ~Sessions() { stop(); }

  /// Runs `body` on a thread of its own. False, without running it, when the limit is reached or stop() has
  /// begun.
  bool start(std::function<void(std::stop_token)> body);

  /// Requests all to stop and joins them. Not from one of them.
  void stop();

  size_t running() const { return running_; }

 private:
  struct Session {
    std::atomic<bool> done{false};
    std::jthread thread;
  };
  const size_t limit_;
  std::atomic<size_t> running_{0};
  Mutex mutex_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::list<Session> sessions_ GUARDED_BY(mutex_);
};

}  // namespace skiff::apiserver
