// Tells living nodes from dead ones (pkg/controller/nodelifecycle): a node that neither renews its lease nor posts its
// status becomes Unknown, is tainted, and its pods are not ready any more. How fast nodes are emptied depends on how
// much of their zone is left: when everything is gone, most likely this side is cut off, and nothing is evicted.
// One worker. Keys without a namespace are nodes, those in "zone" are zones whose next node may be emptied.

#include <deque>

#include "api/gen/coordination.hpp"
#include "api/gen/pod.hpp"
#include "api/pods.hpp"
#include "base/mutex.hpp"
#include "client/event_recorder.hpp"
#include "controllers/kinds.hpp"
#include "controllers/node_health.hpp"

namespace skiff::controllers {
namespace {

constexpr Duration kStartupGrace = 60s;  // for a node that has not said anything yet
constexpr char kByNode[] = "node";
constexpr char kZoneKeys[] = "zone";
constexpr char kLeases[] = "kube-node-lease";

class NodeLifecycle final : public Controller {
 public:
  NodeLifecycle(const Context& context, Duration grace)
      : Controller(context, "node-lifecycle-controller"),
        grace_(grace),
        nodes_(context.informers.of<api::Node>()),
        leases_(context.informers.of<api::Lease>()),
        pods_(context.informers.of<api::Pod>()),
        events_(context.client, context.clock, context.random, "node-controller") {
    nodes_.on_change([this](const Ref<api::Node>& before, const Ref<api::Node>& now) {
      if (now && (!before || heartbeat_of(*now) != heartbeat_of(*before))) hear(now->metadata.name);
      queue().add(key_of(now ? *now : *before));
    });
    leases_.on_change([this](const Ref<api::Lease>& before, const Ref<api::Lease>& now) {
      // A renewal needs no answer before the node would be overdue; one of a node that was given up does.
      if (!now || now->metadata.namespace_ != kLeases) return;
      hear(now->metadata.name);
      Ref<api::Node> node = nodes_.get({"", now->metadata.name});
      if (!before || (node && readiness(*node) != "True")) queue().add({"", now->metadata.name});
    });
    pods_.add_index(kByNode, [](const api::Pod& pod) {
      return pod.spec.nodeName.empty() ? std::vector<std::string>{} : std::vector<std::string>{pod.spec.nodeName};
    });
    pods_.on_change([this](const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
      if (!now || now->spec.nodeName.empty() || (before && !before->spec.nodeName.empty())) return;
      Ref<api::Node> node = nodes_.get({"", now->spec.nodeName});
      if (node && readiness(*node) != "True") queue().add(key_of(*node));
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    if (key.namespace_ == kZoneKeys) return empty_next(key.name);
    Ref<api::Node> node = nodes_.get(key);
    if (!node) {
      forget(key.name);
      return Requeue::never();
    }
    Seen& seen = look(*node);
    Duration left = overdue_in(*node, seen);
    if (left <= Duration::zero() && readiness(*node) != "Unknown") {
      TRY_ASSIGN(node, write<api::Node>(*node, true, [&](api::Node& next) {
                   mark_silent(next, wall_now());
                   return true;
                 }));
    }
    note_readiness(node, seen);
    TRY_ASSIGN(node, write<api::Node>(*node, false, [&](api::Node& next) { return set_schedule_taints(next, wall_now()); }));
    TRY(taint_or_clear(*node, seen));
    if (readiness(*node) != "True") TRY(mark_pods_not_ready(*node));
    return left > Duration::zero() ? Requeue::in(left) : Requeue::never();
  }

 private:
  struct Seen {
    TimePoint probe;         // when it was last heard of
    std::string ready;       // as of the last look; empty: never looked
    std::string zone;
    bool waiting = false;    // to be emptied, when its zone's turn comes
  };
  struct Zone {
    int ready = 0, not_ready = 0;
    std::deque<std::string> waiting;
    TimePoint next = TimePoint::min();
  };

  // ---- signs of life

  static api::Time heartbeat_of(const api::Node& node) {
    const api::NodeCondition* ready = find_condition(node, "Ready");
    return ready ? ready->lastHeartbeatTime : api::Time();
  }

  // By this process' clock, whatever time the node believes it is.
  void hear(const std::string& name) {
    MutexLock lock(mutex_);
    heard_[name] = clock_.now();
  }

  Seen& look(const api::Node& node) {
    auto [found, is_new] = seen_.try_emplace(node.metadata.name);
    Seen& seen = found->second;
    if (is_new) {
      seen.probe = clock_.now();
      events_.normal(reference(node), "RegisteredNode",
                     fmt::format("Node {0} event: Registered Node {0} in Controller", node.metadata.name));
    }
    MutexLock lock(mutex_);
    if (auto heard = heard_.find(node.metadata.name); heard != heard_.end())
      seen.probe = std::max(seen.probe, heard->second);
    return seen;
  }

  Duration overdue_in(const api::Node& node, const Seen& seen) const {
    if (node.metadata.labels.contains(kSimulated)) return Duration::max();
    return seen.probe + (find_condition(node, "Ready") ? grace_ : kStartupGrace) - clock_.now();
  }

  void forget(const std::string& name) {
    auto found = seen_.find(name);
    if (found == seen_.end()) return;
    count(found->second, -1);
    std::erase(zones_[found->second.zone].waiting, name);
    seen_.erase(found);
    {
      MutexLock lock(mutex_);
      heard_.erase(name);
    }
    watch_disruption();
  }

  void count(const Seen& seen, int by) {
    if (seen.ready.empty()) return;
    Zone& zone = zones_[seen.zone];
    (seen.ready == "True" ? zone.ready : zone.not_ready) += by;
  }

  void note_readiness(const Ref<api::Node>& node, Seen& seen) {
    const std::string now = readiness(*node), zone = zone_of(*node);
    if (seen.ready == now && seen.zone == zone) return;
    if (seen.ready == "True" && now != "True")
      events_.normal(reference(*node), "NodeNotReady",
                     fmt::format("Node {} status is now: NodeNotReady", node->metadata.name));
    count(seen, -1);
    seen.ready = now;
    seen.zone = zone;
    count(seen, 1);
    watch_disruption();
  }

  // ---- zones

  bool everything_is_gone() const {
    bool any = false;
    for (const auto& [name, zone] : zones_) {
      if (zone.ready > 0) return false;
      any |= zone.not_ready > 0;
    }
    return any;
  }

  // On the way in and out of a complete failure all nodes are looked at again.
  void watch_disruption() {
    bool gone = everything_is_gone();
    if (gone == gone_) return;
    gone_ = gone;
    for (auto& [name, seen] : seen_) {
      if (!gone) seen.probe = clock_.now();  // they had no chance to be heard
      queue().add({"", name});
    }
  }

  Status taint_or_clear(const api::Node& node, Seen& seen) {
    const std::string ready = readiness(node);
    if (ready == "True" || gone_) {
      seen.waiting = false;
      std::erase(zones_[seen.zone].waiting, node.metadata.name);
      return ignore_missing(write<api::Node>(node, false, [&](api::Node& next) { return set_execute_taint(next, "", wall_now()); }));
    }
    const char* key = taint_for(ready);
    if (has_taint(node, key, "NoExecute")) return ok();
    bool other = has_taint(node, kNotReadyTaint, "NoExecute") || has_taint(node, kUnreachableTaint, "NoExecute");
    if (other)  // only the reason changes
      return ignore_missing(write<api::Node>(node, false, [&](api::Node& next) { return set_execute_taint(next, key, wall_now()); }));
    if (seen.waiting) return ok();
    seen.waiting = true;
    zones_[seen.zone].waiting.push_back(node.metadata.name);
    queue().add({kZoneKeys, seen.zone});
    return ok();
  }

  static const char* taint_for(const std::string& ready) { return ready == "False" ? kNotReadyTaint : kUnreachableTaint; }

  Result<Requeue> empty_next(const std::string& name) {
    Zone& zone = zones_[name];
    if (zone.waiting.empty() || gone_) return Requeue::never();
    Duration pause = eviction_pause(zone_state(zone.ready, zone.not_ready), zone.ready + zone.not_ready);
    if (pause == Duration::zero()) return Requeue::in(10s);  // until the zone is better
    if (clock_.now() < zone.next) return Requeue::in(zone.next - clock_.now());
    const std::string node = zone.waiting.front();
    TRY_ASSIGN(Ref<api::Node> live, client_.get<api::Node>({"", node}));
    const std::string ready = readiness(*live);
    if (ready != "True")
      TRY(ignore_missing(write<api::Node>(*live, false, [&](api::Node& next) {
        return set_execute_taint(next, taint_for(ready), wall_now());
      })));
    zone.waiting.pop_front();
    if (auto seen = seen_.find(node); seen != seen_.end()) seen->second.waiting = false;
    zone.next = clock_.now() + pause;
    return zone.waiting.empty() ? Requeue::never() : Requeue::in(pause);
  }

  // ---- pods

  Status mark_pods_not_ready(const api::Node& node) {
    for (const Ref<api::Pod>& pod : pods_.by_index(kByNode, node.metadata.name)) {
      if (!api::is_ready(*pod)) continue;
      bool marked = false;
      TRY(ignore_missing(write<api::Pod>(*pod, true, [&](api::Pod& next) {
        const api::PodCondition* ready = api::find_condition(next.status, "Ready");
        if (!ready || ready->status != "True") return false;
        api::PodCondition not_ready = *ready;
        not_ready.status = "False";
        not_ready.lastTransitionTime = wall_now();
        return marked = api::set_condition(next.status, std::move(not_ready));
      })));
      if (marked) events_.warning(client::reference_to(pod), "NodeNotReady", "Node is not ready");
    }
    return ok();
  }

  template <class T>
  Result<Ref<T>> write(const T& object, bool status, const std::function<bool(T&)>& change) {
    T copy = object;
    if (!change(copy)) return std::make_shared<const T>(object);
    return client_.update_with_retry<T>(
        key_of(object), [&](T& next) { return next.metadata.uid == object.metadata.uid && change(next); }, status);
  }
  template <class T>
  static Status ignore_missing(Result<T> result) {
    return result.ok() || result.error().code() == Code::NotFound ? ok() : Status(std::move(result).error());
  }
  static api::ObjectReference reference(const api::Node& node) {
    return client::reference_to(std::make_shared<const api::Node>(node));
  }

  const Duration grace_;
  client::Informer<api::Node> nodes_;
  client::Informer<api::Lease> leases_;
  client::Informer<api::Pod> pods_;
  client::EventRecorder events_;
  Mutex mutex_;
  std::map<std::string, TimePoint> heard_ GUARDED_BY(mutex_);
  // The one worker's.
  std::map<std::string, Seen> seen_;
  std::map<std::string, Zone> zones_;
  bool gone_ = false;
};

}  // namespace

std::unique_ptr<Controller> node_lifecycle(const Context& context, Duration grace) {
  return std::make_unique<NodeLifecycle>(context, grace);
}

}  // namespace skiff::controllers
