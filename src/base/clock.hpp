#pragma once
// Time is handed in: every component takes a Clock, tests give it one they move by hand
// (test/support/fake_clock.hpp).

#include <chrono>
#include <stop_token>

#include "base/mutex.hpp"

namespace skiff {

using namespace std::chrono_literals;
using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::steady_clock::time_point;                  // for waiting
using WallTime = std::chrono::sys_time<std::chrono::microseconds>;        // for people and the API

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  virtual WallTime wall_now() const = 0;

  /// Waits on `condition`, releasing `mutex` (held by the caller) meanwhile, until it is notified, `deadline`
  /// passes or `stop` is requested. May wake early: callers loop over their own condition. Any thread.
  virtual void wait(Mutex& mutex, CondVar& condition, std::stop_token stop, TimePoint deadline) = 0;

  /// The same without a deadline.
  void wait(Mutex& mutex, CondVar& condition, std::stop_token stop) {
    wait(mutex, condition, std::move(stop), TimePoint::max());
  }

  /// Sleeps until `deadline`. False once `stop` was requested.
  bool wait_until(std::stop_token stop, TimePoint deadline);
  bool wait_for(std::stop_token stop, Duration duration) { return wait_until(std::move(stop), now() + duration); }
};

/// The machine's clocks. Stateless.
class SystemClock final : public Clock {
 public:
  using Clock::wait;
  TimePoint now() const override;
  WallTime wall_now() const override;
  void wait(Mutex& mutex, CondVar& condition, std::stop_token stop, TimePoint deadline) override;
};

}  // namespace skiff
