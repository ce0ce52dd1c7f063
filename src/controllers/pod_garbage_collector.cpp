// Removes pods that nobody else will (pkg/controller/podgc): of nodes that no longer exist or are out of service, those
// that end without ever having had a node, and the oldest of too many that have finished.

#include "controllers/kinds.hpp"

#include <algorithm>
#include <tuple>

#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "api/pods.hpp"
#include "client/event_recorder.hpp"
#include "controllers/node_health.hpp"
#include "controllers/pod_garbage.hpp"

namespace skiff::controllers {
namespace {

constexpr char kByNode[] = "node";
constexpr char kFinished[] = "finished";
constexpr Duration kQuarantine = 40s;     // a node may only have been registered anew
constexpr size_t kMostFinished = 12'500;  // --terminated-pod-gc-threshold
const ObjectKey kTooMany{"", ""};         // the key under which finished pods are counted

bool out_of_service(const api::Node& node) {
  if (readiness(node) == "True") return false;
  return std::any_of(node.spec.taints.begin(), node.spec.taints.end(),
                     [](const api::Taint& one) { return one.key == kOutOfServiceTaint; });
}

// Keys without a namespace are nodes, the others pods.
class PodGarbageCollector final : public Controller {
 public:
  explicit PodGarbageCollector(const Context& context)
      : Controller(context, "pod-garbage-collector-controller"),
        pods_(context.informers.of<api::Pod>()),
        nodes_(context.informers.of<api::Node>()) {
    pods_.add_index(kByNode, [](const api::Pod& pod) {
      return pod.spec.nodeName.empty() ? std::vector<std::string>{}
                                       : std::vector<std::string>{pod.spec.nodeName};
    });
    pods_.add_index(kFinished, [](const api::Pod& pod) {
      return api::is_finished(pod) ? std::vector<std::string>{""} : std::vector<std::string>{};
    });
    nodes_.on_change([this](const Ref<api::Node>& before, const Ref<api::Node>& now) {
      if (!now) queue().add_after(key_of(*before), kQuarantine);
      else if (out_of_service(*now)) queue().add(key_of(*now));
    });
    pods_.on_change([this](const Ref<api::Pod>& before, const Ref<api::Pod>& now) { pod_changed(before, now); });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    if (key == kTooMany) return remove_oldest();
    if (!key.namespace_.empty()) return remove_unplaced(key);
    if (Ref<api::Node> node = nodes_.get(key)) {
      if (out_of_service(*node)) TRY(remove_ending(key.name));
      return Requeue::never();
    }
    Result<Ref<api::Node>> live = client_.get<api::Node>(key);
    if (live.ok()) return Requeue::never();
    if (live.error().code() != Code::NotFound) return std::move(live).error();
    for (const Ref<api::Pod>& pod : pods_.by_index(kByNode, key.name))
      TRY(remove(*pod, "PodGC: node no longer exists"));
    return Requeue::never();
  }

 private:
  void pod_changed(const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
    if (!now) return;
    if (api::is_finished(*now) && (!before || !api::is_finished(*before))) queue().add(kTooMany);
    if (now->spec.nodeName.empty()) {
      if (now->metadata.deletionTimestamp) queue().add(key_of(*now));
      return;
    }
    const ObjectKey name{"", now->spec.nodeName};
    Ref<api::Node> node = nodes_.get(name);
    if (!node && (!before || before->spec.nodeName.empty())) queue().add_after(name, kQuarantine);
    if (node && now->metadata.deletionTimestamp && out_of_service(*node)) queue().add(name);
  }

  Result<Requeue> remove_unplaced(const ObjectKey& key) {
    Ref<api::Pod> pod = pods_.get(key);
    if (!pod || !pod->metadata.deletionTimestamp || !pod->spec.nodeName.empty()) return Requeue::never();
    TRY(remove(*pod, ""));
    return Requeue::never();
  }

  Status remove_ending(const std::string& node) {
    for (const Ref<api::Pod>& pod : pods_.by_index(kByNode, node))
      if (pod->metadata.deletionTimestamp) TRY(remove(*pod, ""));
    return ok();
  }

  Result<Requeue> remove_oldest() {
    for (const Ref<api::Pod>& pod : surplus_pods(pods_.by_index(kFinished, ""), kMostFinished)) TRY(remove(*pod, ""));
    return Requeue::never();
  }

  // `disruption`: what its condition says; empty: none.
  Status remove(const api::Pod& pod, const std::string& disruption) {
    auto marked = client_.update_with_retry<api::Pod>(
        key_of(pod),
        [&](api::Pod& next) {
          if (next.metadata.uid != pod.metadata.uid || api::is_finished(next)) return false;
          next.status.phase = "Failed";
          if (disruption.empty()) return true;
          api::PodCondition condition;
          condition.type = "DisruptionTarget";
          condition.status = "True";
          condition.reason = "DeletionByPodGC";
          condition.message = disruption;
          condition.lastTransitionTime = wall_now();
          api::set_condition(next.status, std::move(condition));
          return true;
        },
        true);
    if (!marked.ok() && marked.error().code() == Code::NotFound) return ok();
    TRY(marked);
    Result<AnyRef> removed =
        client_.remove<api::Pod>(key_of(pod), {.grace_seconds = 0, .uid = pod.metadata.uid});
    if (!removed.ok() && removed.error().code() != Code::NotFound) return std::move(removed).error();
    return ok();
  }

  client::Informer<api::Pod> pods_;
  client::Informer<api::Node> nodes_;
};

}  // namespace

std::vector<Ref<api::Pod>> surplus_pods(std::vector<Ref<api::Pod>> finished, size_t keep) {
  if (finished.size() <= keep) return {};
  auto rank = [](const api::Pod& pod) {
    const bool evicted = pod.status.phase == "Failed" && pod.status.reason == "Evicted";
    return std::tuple(!evicted, pod.metadata.creationTimestamp, pod.metadata.name);
  };
  std::sort(finished.begin(), finished.end(), [&](const auto& a, const auto& b) { return rank(*a) < rank(*b); });
  finished.resize(finished.size() - keep);
  return finished;
}

std::unique_ptr<Controller> pod_garbage_collector(const Context& context) {
  return std::make_unique<PodGarbageCollector>(context);
}

}  // namespace skiff::controllers
