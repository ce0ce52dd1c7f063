#include "store/watch.hpp"

#include <utility>

#include "store/hub.hpp"

namespace skiff::store {

Watch::Watch(std::shared_ptr<Hub> hub, std::shared_ptr<Subscription> subscription)
    : hub_(std::move(hub)), subscription_(std::move(subscription)) {}

Watch::~Watch() { hub_->unsubscribe(subscription_); }

Revision Watch::progress() const { return hub_->progress(*subscription_); }

void EventBuffer::on_events(std::span<const EventRef> events) {
  {
    MutexLock lock(mutex_);
    if (over_) return;
    if (events_.size() + events.size() > limit_) {
      events_.clear();
      over_ = error(Code::Gone, "the watch fell more than {} events behind", limit_);
    } else {
      events_.insert(events_.end(), events.begin(), events.end());
    }
  }
  changed_.notify_all();
}

void EventBuffer::on_closed(const Error& why) {
  {
    MutexLock lock(mutex_);
    if (!over_) over_ = why;
  }
  changed_.notify_all();
}

Result<std::vector<EventRef>> EventBuffer::take(Clock& clock, std::stop_token stop, TimePoint deadline) {
  MutexLock lock(mutex_);
  while (events_.empty() && !over_) {
    if (stop.stop_requested()) return error(Code::Canceled, "the watch was stopped");
    if (clock.now() >= deadline) break;
    clock.wait(mutex_, changed_, stop, deadline);
  }
  if (events_.empty() && over_) return *over_;
  return std::exchange(events_, {});
}

}  // namespace skiff::store
