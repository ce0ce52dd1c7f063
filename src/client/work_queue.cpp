#include "client/work_queue.hpp"

#include <algorithm>

namespace skiff::client {

void WorkQueue::add_locked(const ObjectKey& key) {
  if (!dirty_.insert(key).second) return;
  if (processing_.contains(key)) return;  // done() queues it
  ready_.push_back(key);
  changed_.notify_one();
}

void WorkQueue::add(const ObjectKey& key) {
  MutexLock lock(mutex_);
  add_locked(key);
}

void WorkQueue::add_after(const ObjectKey& key, Duration delay) {
  MutexLock lock(mutex_);
  if (delay <= Duration::zero()) return add_locked(key);
  TimePoint due = clock_.now() + delay;
  auto [entry, added] = delayed_.try_emplace(key, due);
  if (!added) entry->second = std::min(entry->second, due);
  changed_.notify_all();  // a worker may have to wake earlier than it planned
}

void WorkQueue::retry(const ObjectKey& key) {
  Duration delay;
  {
    MutexLock lock(mutex_);
    delay = backoffs_.try_emplace(key, Backoff(5ms, 1000s)).first->second.next();
  }
  add_after(key, delay);
}

void WorkQueue::forget(const ObjectKey& key) {
  MutexLock lock(mutex_);
  backoffs_.erase(key);
}

TimePoint WorkQueue::move_due_locked() {
  TimePoint now = clock_.now(), next = TimePoint::max();
  for (auto entry = delayed_.begin(); entry != delayed_.end();) {
    if (entry->second <= now) {
      add_locked(entry->first);
      entry = delayed_.erase(entry);
    } else {
      next = std::min(next, entry->second);
      ++entry;
    }
  }
  return next;
}

std::optional<ObjectKey> WorkQueue::take(std::stop_token stop) {
  MutexLock lock(mutex_);
  while (!stop.stop_requested()) {
    TimePoint next = move_due_locked();
    if (!ready_.empty()) {
      ObjectKey key = std::move(ready_.front());
      ready_.pop_front();
      dirty_.erase(key);
      processing_.insert(key);
      return key;
    }
    clock_.wait(mutex_, changed_, stop, next);
  }
  return std::nullopt;
}

void WorkQueue::done(const ObjectKey& key) {
  MutexLock lock(mutex_);
  processing_.erase(key);
  if (dirty_.contains(key)) {
    ready_.push_back(key);
    changed_.notify_one();
  }
}

size_t WorkQueue::size() const {
  MutexLock lock(mutex_);
  return ready_.size();
}

}  // namespace skiff::client
