#pragma once
// Work that may take long (postStart, preStop) beside the pod's worker.

#include <atomic>
#include <functional>
#include <thread>

#include "base/error.hpp"

namespace skiff::kubelet {

/// Runs `work` on its own thread and calls `done` at its end, from that thread. The destructor cancels and
/// joins.
class HookTask {
 public:
  HookTask(std::function<Status(std::stop_token)> work, std::function<void()> done)
      : thread_([this, work = std::move(work), done = std::move(done)](std::stop_token stop) {
          Status status = work(stop);
          if (!status.ok()) failure_ = status.error().message();
          finished_.store(true, std::memory_order_release);
          done();
        }) {}

  bool finished() const { return finished_.load(std::memory_order_acquire); }
  /// Once finished: what went wrong, or "".
  const std::string& failure() const { return failure_; }

 private:
  std::atomic<bool> finished_{false};
  std::string failure_;
  std::jthread thread_;  // last
};

}  // namespace skiff::kubelet
