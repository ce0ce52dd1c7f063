#include "support/fake_clock.hpp"

#include <cstdio>
#include <cstdlib>

namespace skiff::test {
namespace {
constexpr WallTime kStart{std::chrono::seconds(1767225600)};  // 2026-01-01T00:00:00Z
}

TimePoint FakeClock::now() const {
  MutexLock lock(mutex_);
  return TimePoint(1h) + elapsed_;
}

WallTime FakeClock::wall_now() const {
  MutexLock lock(mutex_);
  return kStart + std::chrono::duration_cast<std::chrono::microseconds>(elapsed_);
}

void FakeClock::wait(Mutex& mutex, CondVar& condition, std::stop_token stop, TimePoint deadline) {
  bool timed = deadline != TimePoint::max();
  {
    MutexLock lock(mutex_);
    if (deadline <= TimePoint(1h) + elapsed_) return;
    if (timed) ++timed_waiters_;
    changed_.notify_all();
  }
  // A waiter looks again every millisecond of real time, so that advance() needs none of its locks.
  int checks = 0;
  condition.wait_for(mutex, std::move(stop), 1ms, [&checks] { return checks++ > 0; });
  MutexLock lock(mutex_);
  if (timed) --timed_waiters_;
}

void FakeClock::advance(Duration duration) {
  MutexLock lock(mutex_);
  elapsed_ += duration;
}

void FakeClock::wait_for_waiters(int count) {
  MutexLock lock(mutex_);
  bool enough = changed_.wait_for(mutex_, 10s, [&] { return timed_waiters_ >= count; });
  if (!enough) {
    std::fprintf(stderr, "FakeClock: fewer than %d waiters after 10 s\n", count);
    std::abort();
  }
}

}  // namespace skiff::test
