#pragma once
// What the writers of rules share: many changes, one worker that follows them.

#include <pthread.h>

#include <functional>
#include <set>
#include <string>
#include <thread>

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

/// A thread with a name; calls of start() and stop() may be repeated, by one thread.
class Worker {
 public:
  ~Worker() { stop(); }
  void start(const char* name, std::function<void(std::stop_token)> run) {
    if (thread_.joinable()) return;
    thread_ = std::jthread([name, run = std::move(run)](std::stop_token stop) {
      ::pthread_setname_np(::pthread_self(), name);
      run(std::move(stop));
    });
  }
  void stop() {
    if (!thread_.joinable()) return;
    thread_.request_stop();
    thread_.join();
  }

 private:
  std::jthread thread_;
};

/// The namespaces, by their names at the HttpProxy, that a worker answers in. Any thread.
class ServedNetworks {
 public:
  explicit ServedNetworks(ChangeCounter& changes) : changes_(changes) {}
  void add(const std::string& network) {
    {
      MutexLock lock(mutex_);
      names_.insert(network);
    }
    changes_.changed();
  }
  void remove(const std::string& network) {
    {
      MutexLock lock(mutex_);
      names_.erase(network);
    }
    changes_.changed();
  }
  std::set<std::string> names() const {
    MutexLock lock(mutex_);
    return names_;
  }

 private:
  ChangeCounter& changes_;
  mutable Mutex mutex_;
  std::set<std::string> names_ GUARDED_BY(mutex_);
};

}  // namespace skiff::proxy
