#pragma once
// What the writers of rules share: many changes, one worker that follows them.

#include "base/clock.hpp"
#include "base/mutex.hpp"

namespace skiff::proxy {

/// Counts changes; a worker handles all that came until it looked at once. Any thread.
class ChangeCounter {
 public:
  explicit ChangeCounter(Clock& clock) : clock_(clock) {}

  void changed() {
    MutexLock lock(mutex_);
    ++wanted_;
    moved_.notify_all();
  }

  /// For the worker: waits until there is something to do, or until `again` (to retry what failed), and
  /// returns which change it now follows. 0 once `stop` is requested.
  std::uint64_t wait_change(std::stop_token stop, TimePoint again) {
    MutexLock lock(mutex_);
    while (wanted_ == done_ && clock_.now() < again && !stop.stop_requested())
      clock_.wait(mutex_, moved_, stop, again);
    return stop.stop_requested() ? 0 : wanted_;
  }
  void done(std::uint64_t change) {
    MutexLock lock(mutex_);
    done_ = change;
    moved_.notify_all();
  }

  /// Returns when all changes until now are handled; false once `stop` is requested.
  bool wait_done(std::stop_token stop) {
    MutexLock lock(mutex_);
    std::uint64_t until = wanted_;
    while (done_ < until && !stop.stop_requested()) clock_.wait(mutex_, moved_, stop);
    return done_ >= until;
  }

 private:
  Clock& clock_;
  Mutex mutex_;
  CondVar moved_;
  std::uint64_t wanted_ GUARDED_BY(mutex_) = 1;
  std::uint64_t done_ GUARDED_BY(mutex_) = 0;
};

}  // namespace skiff::proxy
