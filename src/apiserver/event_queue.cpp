#include "apiserver/event_queue.hpp"

#include "base/clock.hpp"

namespace skiff::apiserver {

namespace {
constexpr size_t kMaxWaiting = 10'000;
}  // namespace

void EventQueue::on_event(const registry::ObjectEvent& event) {
  MutexLock lock(mutex_);
  if (ended_ || closed_) return;
  if (waiting_.size() >= kMaxWaiting) closed_ = Error(Code::Expired, "the watch fell behind");
  else waiting_.push_back(event);
  changed_.notify_all();
}

void EventQueue::on_closed(const Error& why) {
  MutexLock lock(mutex_);
  if (!closed_) closed_ = why;
  changed_.notify_all();
}

void EventQueue::on_retired() {
  MutexLock lock(mutex_);
  retired_ = true;
  changed_.notify_all();
}

void EventQueue::end() {
  MutexLock lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

void EventQueue::run(registry::EventSink& to, std::stop_token stop) {
  SystemClock clock;
  for (;;) {
    std::optional<registry::ObjectEvent> event;
    std::optional<Error> why;
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !closed_ && !retired_ && !ended_ && !stop.stop_requested()) clock.wait(mutex_, changed_, stop);
      if (ended_ || stop.stop_requested()) return;
      if (waiting_.empty()) {
        why = closed_;
      } else {
        event = std::move(waiting_.front());
        waiting_.pop_front();
      }
    }
    if (why) return to.on_closed(*why);
    if (!event) return to.on_retired();
    to.on_event(*event);
  }
}

}  // namespace skiff::apiserver
