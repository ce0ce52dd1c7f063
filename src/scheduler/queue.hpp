#pragma once
// The pods that wait for a node (pkg/scheduler/backend/queue): ready ones by priority and age, those that
// failed until their backoff is over, and those that nothing but a change of the cluster can help.

#include <map>
#include <optional>
#include <set>

#include "base/clock.hpp"
#include "scheduler/pod_info.hpp"

namespace skiff::scheduler {

/// Not thread-safe: the scheduler's lock guards it.
class SchedulingQueue {
 public:
  explicit SchedulingQueue(const Clock& clock) : clock_(clock) {}

  /// A new pod, or a new version of a waiting one. `retry`: what changed may make it fit.
  void put(const PodInfoRef& pod, bool retry);
  void remove(const client::ObjectKey& key);
  /// The pod to place now; it has left the queue. Null when none is ready.
  PodInfoRef take();
  /// What take() gave did not fit (it waits for a change), or could not be bound (it is tried again after a
  /// while).
  void failed(const PodInfoRef& pod);
  void retry_later(const PodInfoRef& pod);
  /// Forgets how often the pod failed.
  void placed(const client::ObjectKey& key) { attempts_.erase(key); }
  /// What changed, for it does not help everyone.
  enum class Change { Room, Neighbours };
  /// Something changed that may help pods that did not fit: room was made, or a pod came that others want to
  /// be near.
  void cluster_changed(Change change);

  /// When take() should be asked next although nothing happens; nothing: never.
  std::optional<TimePoint> next_due() const;
  bool contains(const client::ObjectKey& key) const { return waiting_.contains(key); }
  size_t ready() const { return active_.size(); }
  size_t unschedulable() const { return unschedulable_.size(); }

 private:
  struct Order {            // of the active ones: higher priority first, then who came first
    std::int64_t priority;  // negated
    std::uint64_t arrival;
    client::ObjectKey key;
    auto operator<=>(const Order&) const = default;
  };
  struct Waiting {
    PodInfoRef pod;
    std::uint64_t arrival;
  };
  struct Attempts {
    int count = 0;
    TimePoint last;
    std::uint64_t arrival = 0;
  };
  Order order_of(const client::ObjectKey& key, const Waiting& waiting) const;
  void wait(const PodInfoRef& pod);
  void wake(const client::ObjectKey& key);  // to active, or to backoff while that lasts
  TimePoint due_of(const client::ObjectKey& key) const;
  void move_due();

  const Clock& clock_;
  std::uint64_t arrivals_ = 0;
  std::map<client::ObjectKey, Waiting> waiting_;  // all that are in one of the three
  std::set<Order> active_;
  std::set<std::pair<TimePoint, client::ObjectKey>> backing_off_;
  std::set<client::ObjectKey> unschedulable_;
  std::map<client::ObjectKey, Attempts> attempts_;  // of pods that failed at least once, or are being tried
};

}  // namespace skiff::scheduler
