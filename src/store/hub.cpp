#include "store/hub.hpp"

#include <algorithm>
#include <utility>

namespace skiff::store {

namespace {

size_t cost_of(const Event& event) {
  size_t cost = sizeof(Event) + sizeof(Record) + event.record->key.size() + event.record->value.size();
  // A deleted version lives on only here, twice: as it was and restamped.
  return event.type == Event::Type::Delete ? 2 * cost : cost;
}

}  // namespace

std::string_view directory_of(std::string_view key) {
  return key.substr(0, key.rfind('/') + 1);  // npos + 1 is 0: no '/', no directory
}

Hub::Hub(Limits limits, Revision start, const std::set<std::string, std::less<>>& memory_directories)
    : limits_(limits), delivered_(start), published_(start), floor_(start) {
  for (const std::string& directory : memory_directories) memory_lost_[directory] = start;
}

void Hub::publish(std::span<const EventRef> events, const std::function<void()>& make_visible) {
  MutexLock lock(mutex_);
  make_visible();
  for (const EventRef& event : events) {
    recent_.push_back(event);
    recent_bytes_ += cost_of(*event);
    address(event);
    published_ = event->revision;
  }
  while (recent_.size() > limits_.events || (recent_bytes_ > limits_.bytes && !recent_.empty()))
    forget_oldest();
}

void Hub::address(const EventRef& event) {
  const std::string_view key = event->record->key;
  for (const auto& [length, by_prefix] : subscribers_) {
    if (length > key.size()) break;
    auto found = by_prefix.find(key.substr(0, length));
    if (found == by_prefix.end()) continue;
    for (const std::shared_ptr<Subscription>& subscription : found->second) {
      if (event->revision <= subscription->after) continue;
      if (subscription->outbox.empty()) addressed_.push_back(subscription);
      subscription->outbox.push_back(event);
    }
  }
}

void Hub::forget_oldest() {
  const Event& oldest = *recent_.front();
  if (!oldest.record->durable) memory_lost_[std::string(directory_of(oldest.record->key))] = oldest.revision;
  floor_ = oldest.revision;
  recent_bytes_ -= cost_of(oldest);
  recent_.pop_front();
}

void Hub::deliver() {
  for (const std::shared_ptr<Subscription>& subscription : addressed_) {
    MutexLock lock(subscription->mutex);
    std::vector<EventRef> events = std::exchange(subscription->outbox, {});
    if (subscription->closed || subscription->overflowed) continue;
    if (!subscription->catching_up) {
      subscription->sink.on_events(events);
    } else if (subscription->pending.size() + events.size() > limits_.events) {
      subscription->overflowed = true;
      subscription->pending.clear();
    } else {
      subscription->pending.insert(subscription->pending.end(), events.begin(), events.end());
    }
  }
  addressed_.clear();
  delivered_ = published_;
}

Result<Hub::Start> Hub::subscribe(std::string_view prefix, Revision after, WatchSink& sink) {
  MutexLock lock(mutex_);
  if (after < floor_ && lost_memory_events(prefix, after))
    return error(Code::Gone, "revision {} is too old: some events since then were kept in memory only",
                 after);
  Start start{std::make_shared<Subscription>(prefix, after, sink), matching(prefix, after), floor_};
  Subscribers& of_length = subscribers_[prefix.size()];
  auto found = of_length.find(prefix);
  if (found == of_length.end()) {
    of_length.emplace(start.subscription->prefix, std::vector{start.subscription});
  } else {
    found->second.push_back(start.subscription);
  }
  return start;
}

Status Hub::catch_up(Subscription& subscription, std::span<const EventRef> past) {
  if (!past.empty()) subscription.sink.on_events(past);
  while (true) {
    std::vector<EventRef> pending;
    {
      MutexLock lock(subscription.mutex);
      if (subscription.overflowed)
        return error(Code::Gone, "too many events came while the history was read");
      pending.swap(subscription.pending);
      if (pending.empty()) {
        subscription.catching_up = false;
        return ok();
      }
    }
    subscription.sink.on_events(pending);  // no live event overtakes it: they still wait in `pending`
  }
}

void Hub::unsubscribe(const std::shared_ptr<Subscription>& subscription) {
  {
    MutexLock lock(mutex_);
    auto of_length = subscribers_.find(subscription->prefix.size());
    if (of_length != subscribers_.end()) {
      auto found = of_length->second.find(subscription->prefix);
      if (found != of_length->second.end()) {
        std::vector<std::shared_ptr<Subscription>> others = std::move(found->second);
        std::erase(others, subscription);
        of_length->second.erase(found);  // its key belongs to one of the subscriptions, perhaps to this one
        if (!others.empty()) {
          std::string_view key = others.front()->prefix;
          of_length->second.emplace(key, std::move(others));
        }
      }
      if (of_length->second.empty()) subscribers_.erase(of_length);
    }
  }
  MutexLock lock(subscription->mutex);
  subscription->closed = true;
}

Revision Hub::progress(Subscription& subscription) const {
  Revision delivered =
      delivered_.load();  // first: what is delivered now was delivered before the check below
  MutexLock lock(subscription.mutex);
  return subscription.catching_up ? subscription.after : std::max(subscription.after, delivered);
}

std::optional<std::vector<EventRef>> Hub::recent_since(std::string_view prefix, Revision revision) const {
  MutexLock lock(mutex_);
  if (revision < floor_) return std::nullopt;
  return matching(prefix, revision);
}

std::vector<EventRef> Hub::matching(std::string_view prefix, Revision after) const {
  std::vector<EventRef> found;
  auto first =
      std::upper_bound(recent_.begin(), recent_.end(), after,
                       [](Revision revision, const EventRef& event) { return revision < event->revision; });
  for (; first != recent_.end(); ++first)
    if ((*first)->record->key.starts_with(prefix)) found.push_back(*first);
  return found;
}

bool Hub::lost_memory_events(std::string_view prefix, Revision after) const {
  return std::any_of(memory_lost_.begin(), memory_lost_.end(), [&](const auto& lost) {
    const std::string& directory = lost.first;
    bool overlap = directory.starts_with(prefix) || prefix.starts_with(directory);
    return overlap && lost.second > after;
  });
}

void Hub::close(const Error& why) {
  std::vector<std::shared_ptr<Subscription>> all;
  {
    MutexLock lock(mutex_);
    for (const auto& [length, by_prefix] : subscribers_)
      for (const auto& [prefix, subscriptions] : by_prefix)
        all.insert(all.end(), subscriptions.begin(), subscriptions.end());
    subscribers_.clear();
  }
  for (const std::shared_ptr<Subscription>& subscription : all) {
    MutexLock lock(subscription->mutex);
    if (!std::exchange(subscription->closed, true)) subscription->sink.on_closed(why);
  }
}

}  // namespace skiff::store
