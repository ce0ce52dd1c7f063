#pragma once
// What a watch has handed over and its reader has not taken yet.

#include <array>
#include <deque>
#include <iterator>
#include <optional>
#include <span>
#include <stop_token>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/mutex.hpp"

namespace skiff::registry {

/// Bounded: a reader that falls too far behind is told so (Expired) and lists again; writers never wait. push() and
/// close() from any thread, next() from one.
template <class Event>
class WaitingEvents {
 public:
  explicit WaitingEvents(Clock& clock) : clock_(clock) {}

  void push(Event event) {
    std::array<Event, 1> one{std::move(event)};
    push_all(one);
  }

  /// Takes the events out of `events`; the reader is woken once for all of them.
  void push_all(std::span<Event> events) {
    bool wake = false;
    {
      MutexLock lock(mutex_);
      if (over_) return;
      wake = waiting_.empty();  // a reader sleeps only when nothing waits
      if (waiting_.size() + events.size() <= kMost) {
        waiting_.insert(waiting_.end(), std::make_move_iterator(events.begin()), std::make_move_iterator(events.end()));
      } else {
        over_ = Error(Code::Expired, "watch fell behind");
        waiting_.clear();
        wake = true;
      }
    }
    if (wake) changed_.notify_all();
  }

  void close(const Error& why) {
    MutexLock lock(mutex_);
    if (!over_) over_ = why;
    changed_.notify_all();
  }

  /// Canceled: `stop` was requested. Otherwise why it was closed, after the last event.
  Result<Event> next(const std::stop_token& stop) {
    if (stop.stop_requested()) return Error(Code::Canceled, "watch stopped");
    if (taken_.empty()) {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !over_ && !stop.stop_requested()) clock_.wait(mutex_, changed_, stop);
      if (stop.stop_requested()) return Error(Code::Canceled, "watch stopped");
      if (waiting_.empty()) return *over_;
      taken_.swap(waiting_);
    }
    Event event = std::move(taken_.front());
    taken_.pop_front();
    return event;
  }

 private:
  static constexpr size_t kMost = 100'000;

  Clock& clock_;
  std::deque<Event> taken_;  // the reader's
  Mutex mutex_;
  CondVar changed_;
  std::deque<Event> waiting_ GUARDED_BY(mutex_);
  std::optional<Error> over_ GUARDED_BY(mutex_);
};

}  // namespace skiff::registry
