#include "base/event_loop.hpp"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>

namespace skiff {

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return errno_error(errno, "epoll_create1");
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return errno_error(errno, "eventfd");
  epoll_event event{.events = EPOLLIN, .data = {.fd = wake.get()}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) < 0) return errno_error(errno, "epoll_ctl");
  return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(wake)));
}

void EventLoop::wake() {
  std::uint64_t one = 1;
  // The counter can only be full when a wake-up is already pending, so a failed write loses nothing.
  [[maybe_unused]] ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

void EventLoop::post(Callback task) {
  {
    MutexLock lock(mutex_);
    posted_.push_back(std::move(task));
  }
  wake();
}

Status EventLoop::watch(int fd, std::uint32_t events, FdCallback callback) {
  int operation = watched_.contains(fd) ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  epoll_event event{.events = events, .data = {.fd = fd}};
  if (::epoll_ctl(epoll_.get(), operation, fd, &event) < 0) return errno_error(errno, "epoll_ctl fd {}", fd);
  watched_[fd] = std::make_shared<FdCallback>(std::move(callback));
  return ok();
}

void EventLoop::unwatch(int fd) {
  if (watched_.erase(fd) > 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

EventLoop::TimerId EventLoop::after(Duration delay, Callback callback) {
  TimerId id = next_timer_++;
  TimePoint due = std::chrono::steady_clock::now() + delay;
  timers_.emplace(std::pair{due, id}, std::move(callback));
  timer_due_[id] = due;
  return id;
}

void EventLoop::cancel(TimerId timer) {
  auto due = timer_due_.find(timer);
  if (due == timer_due_.end()) return;
  timers_.erase({due->second, timer});
  timer_due_.erase(due);
}

void EventLoop::run_posted() {
  std::vector<Callback> tasks;
  {
    MutexLock lock(mutex_);
    tasks.swap(posted_);
  }
  for (Callback& task : tasks) task();
}

void EventLoop::run_timers() {
  TimePoint now = std::chrono::steady_clock::now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    auto node = timers_.extract(timers_.begin());
    timer_due_.erase(node.key().second);
    node.mapped()();
  }
}

int EventLoop::milliseconds_to_next_timer() const {
  if (timers_.empty()) return -1;
  auto wait = timers_.begin()->first.first - std::chrono::steady_clock::now();
  auto rounded_up = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
  return static_cast<int>(std::clamp<long long>(rounded_up, 0, 1 << 30));
}

void EventLoop::run(std::stop_token stop) {
  std::stop_callback on_stop(stop, [this] { wake(); });
  std::array<epoll_event, 64> events{};
  while (!stop.stop_requested()) {
    int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), milliseconds_to_next_timer());
    for (int i = 0; i < count; ++i) {
      int fd = events[static_cast<size_t>(i)].data.fd;
      if (fd == wake_.get()) {
        std::uint64_t drained = 0;
        [[maybe_unused]] ssize_t got = ::read(fd, &drained, sizeof drained);
        continue;
      }
      auto found = watched_.find(fd);
      if (found == watched_.end()) continue;  // unwatched by an earlier callback of this round
      std::shared_ptr<FdCallback> callback = found->second;  // the callback may unwatch itself
      (*callback)(events[static_cast<size_t>(i)].events);
    }
    run_posted();
    run_timers();
  }
}

}  // namespace skiff
