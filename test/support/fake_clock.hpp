#pragma once
// A Clock that only moves when a test says so.

#include "base/clock.hpp"

namespace skiff::test {

class FakeClock final : public Clock {
 public:
  using Clock::wait;
  TimePoint now() const override;
  WallTime wall_now() const override;
  void wait(Mutex& mutex, CondVar& condition, std::stop_token stop, TimePoint deadline) override;

  /// Moves time; every waiter whose deadline has come returns.
  void advance(Duration duration);
  /// Blocks (real time) until at least `count` threads wait with a deadline; aborts after 10 s.
  void wait_for_waiters(int count);

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  Duration elapsed_ GUARDED_BY(mutex_){0};
  int timed_waiters_ GUARDED_BY(mutex_) = 0;
};

}  // namespace skiff::test
