#pragma once
// The pods that wait for a node (pkg/scheduler/backend/queue): ready ones by priority and age, those that
// failed until their backoff is over, and those that nothing but a change of the cluster can help.

#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/clock.hpp"
#include "scheduler/cluster_state.hpp"
#include "scheduler/pod_info.hpp"

namespace skiff::scheduler {

/// What happened; queueing hints ask whether it may help a pod that did not fit.
struct ClusterChange {
  enum class What {
    Node,      // came, or is different now
    PodGone,   // room was made
    PodThere,  // one came or has other labels: others want to be near it
    Volumes,   // a claim, a volume or a class is different now
    Other,
  } what;
  const NodeState* node = nullptr;     // for Node
  const client::ObjectKey* claim = nullptr;  // for Volumes of one claim
};

/// Not thread-safe: the scheduler's lock guards it.
class SchedulingQueue {
 public:
  explicit SchedulingQueue(const Clock& clock) : clock_(clock) {}

  /// A new pod, or a new version of a waiting one. `retry`: what changed may make it fit.
  void put(const PodInfoRef& pod, bool retry);
  void remove(const client::ObjectKey& key);
  /// The pod to place now; it has left the queue. Null when none is ready.
  PodInfoRef take();
  /// What take() gave did not fit because of `filters`: it waits for a change that may help, five minutes at most.
  void failed(const PodInfoRef& pod, std::set<std::string> filters);
  /// It could not be bound: it is tried again after a while.
  void retry_later(const PodInfoRef& pod);
  /// Forgets how often the pod failed.
  void placed(const client::ObjectKey& key) { attempts_.erase(key); }
  void cluster_changed(const ClusterChange& change);

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
    std::uint64_t arrival = 0;
    std::set<std::string> failed_by = {};
    TimePoint stale = {};  // when an unschedulable one is tried anyway
  };
  struct Attempts {
    int count = 0;
    TimePoint last;
    std::uint64_t arrival = 0;
  };
  using Timed = std::set<std::pair<TimePoint, client::ObjectKey>>;
  Order order_of(const client::ObjectKey& key, const Waiting& waiting) const;
  Waiting& wait(const PodInfoRef& pod);
  void wake(const client::ObjectKey& key);  // to active, or to backoff while that lasts
  bool leave_unschedulable(const client::ObjectKey& key);
  TimePoint due_of(const client::ObjectKey& key) const;
  void move_due();

  const Clock& clock_;
  std::uint64_t arrivals_ = 0;
  std::map<client::ObjectKey, Waiting> waiting_;  // all that are in one of the three
  std::set<Order> active_;
  Timed backing_off_;
  Timed unschedulable_;  // by when they are stale
  std::map<client::ObjectKey, Attempts> attempts_;  // of pods that failed at least once, or are being tried
};

}  // namespace skiff::scheduler
