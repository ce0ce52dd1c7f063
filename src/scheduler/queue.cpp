#include "scheduler/queue.hpp"

#include <algorithm>

namespace skiff::scheduler {
namespace {

constexpr Duration kFirstBackoff = 1s;
constexpr Duration kLongestBackoff = 10s;

Duration backoff(int attempts) {
  Duration delay = kFirstBackoff;
  for (int i = 1; i < attempts && delay < kLongestBackoff; ++i) delay *= 2;
  return std::min(delay, kLongestBackoff);
}

}  // namespace

SchedulingQueue::Order SchedulingQueue::order_of(const client::ObjectKey& key, const Waiting& waiting) const {
  return {-std::int64_t{waiting.pod->pod->spec.priority.value_or(0)}, waiting.arrival, key};
}

void SchedulingQueue::put(const PodInfoRef& pod, bool retry) {
  client::ObjectKey key = client::key_of(*pod->pod);
  auto known = waiting_.find(key);
  if (known == waiting_.end()) {
    auto [waiting, added] = waiting_.emplace(key, Waiting{pod, ++arrivals_});
    active_.insert(order_of(key, waiting->second));
    return;
  }
  bool active = active_.erase(order_of(key, known->second)) > 0;
  known->second.pod = pod;
  if (active)
    active_.insert(order_of(key, known->second));
  else if (retry && unschedulable_.erase(key) > 0)
    wake(key);
}

void SchedulingQueue::remove(const client::ObjectKey& key) {
  auto known = waiting_.find(key);
  attempts_.erase(key);
  if (known == waiting_.end()) return;
  active_.erase(order_of(key, known->second));
  unschedulable_.erase(key);
  std::erase_if(backing_off_, [&](const auto& entry) { return entry.second == key; });
  waiting_.erase(known);
}

PodInfoRef SchedulingQueue::take() {
  move_due();
  if (active_.empty()) return nullptr;
  client::ObjectKey key = active_.begin()->key;
  active_.erase(active_.begin());
  auto waiting = waiting_.find(key);
  PodInfoRef pod = waiting->second.pod;
  Attempts& attempts = attempts_[key];
  ++attempts.count;
  attempts.last = clock_.now();
  attempts.arrival = waiting->second.arrival;
  waiting_.erase(waiting);
  return pod;
}

// Back where it stood in line.
void SchedulingQueue::wait(const PodInfoRef& pod) {
  client::ObjectKey key = client::key_of(*pod->pod);
  waiting_[key] = {pod, attempts_[key].arrival};
}

void SchedulingQueue::failed(const PodInfoRef& pod) {
  wait(pod);
  unschedulable_.insert(client::key_of(*pod->pod));
}

void SchedulingQueue::retry_later(const PodInfoRef& pod) {
  wait(pod);
  wake(client::key_of(*pod->pod));
}

TimePoint SchedulingQueue::due_of(const client::ObjectKey& key) const {
  auto attempts = attempts_.find(key);
  return attempts == attempts_.end() ? TimePoint::min()
                                     : attempts->second.last + backoff(attempts->second.count);
}

void SchedulingQueue::wake(const client::ObjectKey& key) {
  TimePoint due = due_of(key);
  if (due <= clock_.now())
    active_.insert(order_of(key, waiting_.at(key)));
  else
    backing_off_.insert({due, key});
}

void SchedulingQueue::cluster_changed(Change change) {
  std::erase_if(unschedulable_, [&](const client::ObjectKey& key) {
    const PodInfo& pod = *waiting_.at(key).pod;
    if (change == Change::Neighbours && pod.affinity.empty() && pod.hard_spread.empty()) return false;
    wake(key);
    return true;
  });
}

void SchedulingQueue::move_due() {
  TimePoint now = clock_.now();
  while (!backing_off_.empty() && backing_off_.begin()->first <= now) {
    client::ObjectKey key = backing_off_.begin()->second;
    backing_off_.erase(backing_off_.begin());
    active_.insert(order_of(key, waiting_.at(key)));
  }
}

std::optional<TimePoint> SchedulingQueue::next_due() const {
  if (backing_off_.empty()) return std::nullopt;
  return backing_off_.begin()->first;
}

}  // namespace skiff::scheduler
