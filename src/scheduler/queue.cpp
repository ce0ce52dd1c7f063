#include "scheduler/queue.hpp"

#include <algorithm>

#include "scheduler/filters.hpp"

namespace skiff::scheduler {
namespace {

constexpr Duration kFirstBackoff = 1s;
constexpr Duration kLongestBackoff = 10s;
constexpr Duration kStale = 5min;

Duration backoff(int attempts) {
  Duration delay = kFirstBackoff;
  for (int i = 1; i < attempts && delay < kLongestBackoff; ++i) delay *= 2;
  return std::min(delay, kLongestBackoff);
}

bool any_of(const std::set<std::string>& filters, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* name) { return filters.contains(name); });
}

// The plugins' queueing hints in one place.
bool may_help(const ClusterChange& change, const PodInfo& pod, const std::set<std::string>& failed_by) {
  if (failed_by.empty()) return true;
  switch (change.what) {
    case ClusterChange::What::Node:
      // A domain that comes or goes changes the balance for all.
      return any_of(failed_by, {"PodTopologySpread", "InterPodAffinity"}) || !change.node || could_fit(pod, *change.node);
    case ClusterChange::What::PodGone:
      return any_of(failed_by, {"NodeResourcesFit", "NodePorts", "PodTopologySpread", "InterPodAffinity",
                                "VolumeRestrictions", "NodeVolumeLimits", "DefaultPreemption"});
    case ClusterChange::What::PodThere:
      return (!pod.affinity.empty() && failed_by.contains("InterPodAffinity")) || failed_by.contains("PodTopologySpread");
    case ClusterChange::What::Volumes:
      if (change.claim && std::find(pod.claims.begin(), pod.claims.end(), *change.claim) == pod.claims.end()) return false;
      return any_of(failed_by, {"VolumeBinding", "VolumeZone", "VolumeRestrictions", "NodeVolumeLimits"});
    case ClusterChange::What::Other: return true;
  }
  return true;
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
  else if (retry && leave_unschedulable(key))
    wake(key);
}

void SchedulingQueue::remove(const client::ObjectKey& key) {
  auto known = waiting_.find(key);
  attempts_.erase(key);
  if (known == waiting_.end()) return;
  active_.erase(order_of(key, known->second));
  leave_unschedulable(key);
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
SchedulingQueue::Waiting& SchedulingQueue::wait(const PodInfoRef& pod) {
  client::ObjectKey key = client::key_of(*pod->pod);
  Waiting& waiting = waiting_[key];
  waiting = {pod, attempts_[key].arrival};
  return waiting;
}

void SchedulingQueue::failed(const PodInfoRef& pod, std::set<std::string> filters) {
  Waiting& waiting = wait(pod);
  waiting.failed_by = std::move(filters);
  waiting.stale = clock_.now() + kStale;
  unschedulable_.insert({waiting.stale, client::key_of(*pod->pod)});
}

bool SchedulingQueue::leave_unschedulable(const client::ObjectKey& key) {
  return unschedulable_.erase({waiting_.at(key).stale, key}) > 0;
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

void SchedulingQueue::cluster_changed(const ClusterChange& change) {
  std::erase_if(unschedulable_, [&](const auto& entry) {
    const Waiting& waiting = waiting_.at(entry.second);
    if (!may_help(change, *waiting.pod, waiting.failed_by)) return false;
    wake(entry.second);
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
  while (!unschedulable_.empty() && unschedulable_.begin()->first <= now) {
    client::ObjectKey key = unschedulable_.begin()->second;
    unschedulable_.erase(unschedulable_.begin());
    wake(key);
  }
}

std::optional<TimePoint> SchedulingQueue::next_due() const {
  std::optional<TimePoint> due;
  for (const Timed* timed : {&backing_off_, &unschedulable_})
    if (!timed->empty() && (!due || timed->begin()->first < *due)) due = timed->begin()->first;
  return due;
}

}  // namespace skiff::scheduler
