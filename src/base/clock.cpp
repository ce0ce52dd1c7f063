#include "base/clock.hpp"

namespace skiff {

bool Clock::wait_until(std::stop_token stop, TimePoint deadline) {
  Mutex mutex;
  CondVar never_notified;
  MutexLock lock(mutex);
  while (!stop.stop_requested() && now() < deadline) wait(mutex, never_notified, stop, deadline);
  return !stop.stop_requested();
}

TimePoint SystemClock::now() const { return std::chrono::steady_clock::now(); }

WallTime SystemClock::wall_now() const {
  return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

void SystemClock::wait(Mutex& mutex, CondVar& condition, std::stop_token stop, TimePoint deadline) {
  // condition_variable_any's stop-aware wait needs a predicate; one that turns true after the first
  // wake-up makes it a single wait.
  int checks = 0;
  auto woken = [&checks] { return checks++ > 0; };
  if (deadline == TimePoint::max()) {
    condition.wait(mutex, std::move(stop), woken);
  } else {
    condition.wait_until(mutex, std::move(stop), deadline, woken);
  }
}

}  // namespace skiff
