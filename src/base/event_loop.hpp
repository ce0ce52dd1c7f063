#pragma once
// epoll(7) with timers and cross-thread posting: one thread that serves many idle descriptors.

#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <unordered_map>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff {

/// All callbacks run on the thread inside run(). post() and wake-ups come from any thread; every other method
/// is called on the loop's thread (or before run()).
class EventLoop {
 public:
  using Callback = std::function<void()>;
  using FdCallback = std::function<void(std::uint32_t events)>;  // EPOLLIN, EPOLLOUT, EPOLLHUP, ...
  using TimerId = std::uint64_t;

  static Result<std::unique_ptr<EventLoop>> create();

  /// Serves until `stop` is requested. Call once.
  void run(std::stop_token stop);

  /// Runs `task` on the loop's thread, in posting order. Any thread.
  void post(Callback task);

  /// Watches `fd` (not owned) for `events`; replaces an earlier registration of the same fd.
  Status watch(int fd, std::uint32_t events, FdCallback callback);
  void unwatch(int fd);

  TimerId after(Duration delay, Callback callback);
  void cancel(TimerId timer);

 private:
  EventLoop(UniqueFd epoll, UniqueFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  void wake();
  void run_posted();
  void run_timers();
  int milliseconds_to_next_timer() const;

  UniqueFd epoll_;
  UniqueFd wake_;  // eventfd
  std::unordered_map<int, std::shared_ptr<FdCallback>> watched_;
  std::map<std::pair<TimePoint, TimerId>, Callback> timers_;
  std::unordered_map<TimerId, TimePoint> timer_due_;
  TimerId next_timer_ = 1;
  Mutex mutex_;
  std::vector<Callback> posted_ GUARDED_BY(mutex_);
};

}  // namespace skiff
