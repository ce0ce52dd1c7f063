// One pod on every node that fits (pkg/controller/daemon). The scheduler binds the pods, told where by
// affinity.

#include <atomic>
#include <map>

#include "controllers/behind.hpp"
#include "controllers/kinds.hpp"
#include "controllers/ownership.hpp"
#include "controllers/revisions.hpp"
#include "controllers/slow_start.hpp"

#include "api/nodes.hpp"
#include "api/pods.hpp"
#include "client/event_recorder.hpp"

namespace skiff::controllers {
namespace {

using Pods = std::vector<Ref<api::Pod>>;
constexpr char kNameField[] = "metadata.name";

api::Toleration tolerate(const char* key, const char* effect) {
  api::Toleration toleration;
  toleration.key = key;
  toleration.operator_ = "Exists";
  toleration.effect = effect;
  return toleration;
}

// What every daemon puts up with: it shall run where others may not.
void add_tolerations(api::PodSpec& spec) {
  auto add = [&](const char* key, const char* effect) {
    api::Toleration wanted = tolerate(key, effect);
    if (std::find(spec.tolerations.begin(), spec.tolerations.end(), wanted) == spec.tolerations.end())
      spec.tolerations.push_back(wanted);
  };
  add("node.kubernetes.io/not-ready", "NoExecute");
  add("node.kubernetes.io/unreachable", "NoExecute");
  for (const char* key : {"node.kubernetes.io/disk-pressure", "node.kubernetes.io/memory-pressure",
                          "node.kubernetes.io/pid-pressure", "node.kubernetes.io/unschedulable"})
    add(key, "NoSchedule");
  if (spec.hostNetwork) add("node.kubernetes.io/network-unavailable", "NoSchedule");
}

// Replaces what the terms say about the node's name (util.ReplaceDaemonSetPodNodeNameNodeAffinity).
void pin(api::PodSpec& spec, const std::string& node) {
  api::NodeSelectorRequirement here;
  here.key = kNameField;
  here.operator_ = "In";
  here.values = {node};
  api::NodeSelector& required =
      spec.affinity.ensure().nodeAffinity.ensure().requiredDuringSchedulingIgnoredDuringExecution.ensure();
  if (required.nodeSelectorTerms.empty()) required.nodeSelectorTerms.emplace_back();
  for (api::NodeSelectorTerm& term : required.nodeSelectorTerms) term.matchFields = {here};
}

// The node a pod is on or meant for.
std::string node_of(const api::Pod& pod) {
  if (!pod.spec.nodeName.empty()) return pod.spec.nodeName;
  if (!pod.spec.affinity || !pod.spec.affinity->nodeAffinity) return "";
  const auto& required = pod.spec.affinity->nodeAffinity->requiredDuringSchedulingIgnoredDuringExecution;
  if (!required) return "";
  for (const api::NodeSelectorTerm& term : required->nodeSelectorTerms)
    for (const api::NodeSelectorRequirement& field : term.matchFields)
      if (field.key == kNameField && field.values.size() == 1) return field.values[0];
  return "";
}

struct Fit {
  bool run = false;   // a pod belongs here
  bool stay = false;  // one that is here may remain
};

Fit fit(const api::PodSpec& spec, const api::Node& node) {
  if (!spec.nodeName.empty() && spec.nodeName != node.metadata.name) return {};
  if (!api::matches_node_affinity(spec, node)) return {};
  bool evicted = std::any_of(node.spec.taints.begin(), node.spec.taints.end(), [&](const api::Taint& taint) {
    return taint.effect == "NoExecute" && !api::tolerates(spec.tolerations, taint);
  });
  return {.run = api::tolerates_taints(spec, node), .stay = !evicted};
}

// What is to be done, node by node.
struct DaemonPlan {
  std::vector<std::string> create;  // node names
  Pods remove;
};

// Pure. `by_node`: the set's pods; `hash`: of the current template.
class Planner {
 public:
  Planner(const api::DaemonSet& set, const std::string& hash, api::Time now)
      : set_(set), hash_(hash), now_(now) {
    spec_ = set.spec.template_.spec;
    add_tolerations(spec_);
  }
  /// Before node(): how many of them may have two pods during an update.
  void allow_surge(const std::vector<Ref<api::Node>>& nodes) {
    const auto& rolling = set_.spec.updateStrategy.rollingUpdate;
    if (set_.spec.updateStrategy.type != "RollingUpdate" || !rolling || !rolling->maxSurge) return;
    auto fitting = std::count_if(nodes.begin(), nodes.end(), [&](const auto& node) { return fit(spec_, *node).run; });
    Result<std::int32_t> scaled = rolling->maxSurge->scaled(static_cast<std::int32_t>(fitting), true);
    if (scaled.ok()) surge_ = scaled.value();
  }

  void node(const api::Node& node, Pods pods) {
    Fit here = fit(spec_, node);
    auto& status = status_;
    if (here.run) ++status.desiredNumberScheduled;
    if (here.run && pods.empty())
      plan_.create.push_back(node.metadata.name);  // not beside one that still stops
    std::erase_if(
        pods, [](const Ref<api::Pod>& pod) { return static_cast<bool>(pod->metadata.deletionTimestamp); });
    std::sort(pods.begin(), pods.end(), [](const auto& a, const auto& b) {
      return std::pair(a->metadata.creationTimestamp, a->metadata.name) <
             std::pair(b->metadata.creationTimestamp, b->metadata.name);
    });
    if (!pods.empty()) ++(here.run ? status.currentNumberScheduled : status.numberMisscheduled);
    if (!here.run && !here.stay) {
      plan_.remove.insert(plan_.remove.end(), pods.begin(), pods.end());
      return;
    }
    if (surge_ > 0 && here.run) pods = hand_over(node.metadata.name, std::move(pods));
    keep_one(pods, here.run);
  }

  DaemonPlan take() {
    replace_old();
    return std::move(plan_);
  }
  api::DaemonSetStatus status() const {
    api::DaemonSetStatus status = status_;
    status.observedGeneration = set_.metadata.generation;
    status.numberUnavailable = status.desiredNumberScheduled - status.numberAvailable;
    return status;
  }

 private:
  // With maxSurge an old pod stays beside its successor until that one serves. Returns what is left to look at.
  Pods hand_over(const std::string& node, Pods pods) {
    Ref<api::Pod> old, successor;
    for (const Ref<api::Pod>& pod : pods)
      if (!api::is_finished(*pod)) (revision_hash(pod->metadata) == hash_ ? successor : old) = pod;
    if (!old) return pods;
    bool serves = api::is_available(*old, set_.spec.minReadySeconds, now_);
    if (!successor) {
      if (serves) to_surge_.push_back(node);
      else plan_.create.push_back(node);  // nothing is lost by it
      return pods;
    }
    std::erase(pods, old);
    if (!serves || api::is_available(*successor, set_.spec.minReadySeconds, now_)) {
      plan_.remove.push_back(old);
      return pods;
    }
    ++surging_;
    ++status_.numberAvailable;
    if (!api::is_ready(*successor)) ++status_.numberReady;
    return pods;
  }

  void keep_one(const Pods& pods, bool run) {
    Ref<api::Pod> kept;
    for (const Ref<api::Pod>& pod : pods) {
      if (api::is_finished(*pod) || kept)
        plan_.remove.push_back(pod);  // ended, or one too many
      else
        kept = pod;
    }
    if (!kept || !run) return;
    bool current = revision_hash(kept->metadata) == hash_;
    bool available = api::is_available(*kept, set_.spec.minReadySeconds, now_);
    if (current) ++status_.updatedNumberScheduled;
    if (api::is_ready(*kept)) ++status_.numberReady;
    if (available) ++status_.numberAvailable;
    if (!current) (available ? old_ : old_unavailable_).push_back(kept);
  }

  // A rolling update: old pods that serve nobody go at once, others as availability allows.
  void replace_old() {
    if (set_.spec.updateStrategy.type != "RollingUpdate") return;
    if (surge_ > 0) {
      for (const std::string& node : to_surge_)
        if (surging_++ < surge_) plan_.create.push_back(node);
      return;
    }
    api::IntOrString most = 1;
    if (const auto& rolling = set_.spec.updateStrategy.rollingUpdate)
      if (rolling->maxUnavailable) most = *rolling->maxUnavailable;
    Result<std::int32_t> scaled = most.scaled(status_.desiredNumberScheduled, true);
    std::int32_t room = scaled.ok() ? std::max(1, scaled.value()) : 1;
    room -= status_.desiredNumberScheduled - status_.numberAvailable;
    plan_.remove.insert(plan_.remove.end(), old_unavailable_.begin(), old_unavailable_.end());
    for (const Ref<api::Pod>& pod : old_)
      if (room-- > 0) plan_.remove.push_back(pod);
  }

  const api::DaemonSet& set_;
  const std::string hash_;
  const api::Time now_;
  api::PodSpec spec_;
  api::DaemonSetStatus status_;
  DaemonPlan plan_;
  Pods old_, old_unavailable_;
  std::int32_t surge_ = 0, surging_ = 0;
  std::vector<std::string> to_surge_;
};

class DaemonSets final : public Controller {
 public:
  explicit DaemonSets(const Context& context)
      : Controller(context, "daemonset-controller", 2),
        sets_(context.informers.of<api::DaemonSet>()),
        pods_(context.informers.of<api::Pod>()),
        nodes_(context.informers.of<api::Node>()),
        revisions_(context.informers.of<api::ControllerRevision>()),
        events_(context.client, context.clock, context.random, "daemonset-controller") {
    index_orphans(pods_);
    sets_.on_change([this](const Ref<api::DaemonSet>& before, const Ref<api::DaemonSet>& now) {
      queue().add(key_of(now ? *now : *before));
    });
    pods_.on_change([this](const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
      for (const Ref<api::Pod>& pod : {before, now})
        if (pod)
          if (std::optional<ObjectKey> key = owner_key<api::DaemonSet>(pod->metadata)) queue().add(*key);
    });
    nodes_.on_change([this](const Ref<api::Node>& before, const Ref<api::Node>& now) {
      bool same =
          before && now && before->spec == now->spec && before->metadata.labels == now->metadata.labels;
      if (same) return;  // a heartbeat
      for (const Ref<api::DaemonSet>& set : sets_.list()) queue().add(key_of(*set));
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<api::DaemonSet> set = sets_.get(key);
    if (!set) {
      pods_written_.forget(key);
      written_.forget(key);
      return Requeue::never();
    }
    if (!pods_written_.passed(key, pods_.revision()) || !written_.passed(key, sets_.revision()))
      return behind();
    if (set->metadata.deletionTimestamp) return Requeue::never();
    TRY_ASSIGN(api::Selector selector, api::Selector::from(set->spec.selector));
    TRY_ASSIGN(Pods pods, claim<api::Pod>(client_, pods_, *set, selector));
    History history(client_, revisions_, *set);
    TRY_ASSIGN(Revision current, history.ensure(set->spec.template_, set->spec.template_.metadata.labels));
    const std::string hash = revision_hash(current->metadata);

    std::map<std::string, Pods> by_node;
    for (const Ref<api::Pod>& pod : pods) by_node[node_of(*pod)].push_back(pod);
    Planner planner(*set, hash, wall_now());
    const std::vector<Ref<api::Node>> nodes = nodes_.list();
    planner.allow_surge(nodes);
    for (const Ref<api::Node>& node : nodes) planner.node(*node, by_node[node->metadata.name]);
    TRY(act(*set, hash, planner.take()));
    TRY(write_status(*set, planner.status()));
    std::vector<std::string> in_use{hash};
    for (const Ref<api::Pod>& pod : pods) in_use.push_back(revision_hash(pod->metadata));
    TRY(history.clean(set->spec.revisionHistoryLimit.value_or(10), in_use));
    if (set->spec.minReadySeconds > 0 && planner.status().numberReady != planner.status().numberAvailable)
      return Requeue::in(std::chrono::seconds(set->spec.minReadySeconds));
    return Requeue::never();
  }

 private:
  Status act(const api::DaemonSet& set, const std::string& hash, const DaemonPlan& plan) {
    const api::ObjectReference about =
        client::reference_to(Ref<api::DaemonSet>(std::make_shared<api::DaemonSet>(set)));
    std::atomic<size_t> turn = 0;
    SlowStart created = slow_start(static_cast<int>(plan.create.size()), [&]() -> Status {
      api::Pod pod = pod_from(set.spec.template_, set);
      pod.metadata.labels[kRevisionHash] = hash;
      add_tolerations(pod.spec);
      pin(pod.spec, plan.create[turn.fetch_add(1)]);
      Result<Ref<api::Pod>> made = client_.create(std::move(pod));
      if (!made.ok()) {
        if (!is_namespace_going(made.error()))
          events_.warning(about, "FailedCreate", "Error creating: " + made.error().message());
        return std::move(made).error();
      }
      pods_written_.wrote(key_of(set), client::revision_of(made.value()->metadata));
      events_.normal(about, "SuccessfulCreate", "Created pod: " + made.value()->metadata.name);
      return ok();
    });
    if (created.error && !is_namespace_going(*created.error)) return *created.error;
    for (const Ref<api::Pod>& pod : plan.remove) TRY(remove(set, about, *pod));
    return ok();
  }

  Status remove(const api::DaemonSet& set, const api::ObjectReference& about, const api::Pod& pod) {
    if (pod.status.phase == "Failed")
      events_.warning(about, "FailedDaemonPod",
                      fmt::format("Found failed daemon pod {} on node {}, will try to kill it",
                                  key_of(pod).str(), pod.spec.nodeName));
    Result<AnyRef> removed = client_.remove<api::Pod>(key_of(pod), {.uid = pod.metadata.uid});
    if (!removed.ok() && removed.error().code() == Code::NotFound) return ok();
    TRY(removed);
    if (removed.value()) pods_written_.wrote(key_of(set), client::revision_of(removed.value().metadata()));
    events_.normal(about, "SuccessfulDelete", "Deleted pod: " + pod.metadata.name);
    return ok();
  }

  Status write_status(const api::DaemonSet& set, api::DaemonSetStatus status) {
    status.collisionCount = set.status.collisionCount;
    status.conditions = set.status.conditions;
    if (status == set.status) return ok();
    api::DaemonSet next = set;
    next.status = std::move(status);
    Result<Ref<api::DaemonSet>> written = client_.update_status(std::move(next));
    if (!written.ok() && written.error().code() == Code::NotFound) return ok();
    TRY(written);
    written_.wrote(key_of(set), client::revision_of(written.value()->metadata));
    return ok();
  }

  client::Informer<api::DaemonSet> sets_;
  client::Informer<api::Pod> pods_;
  client::Informer<api::Node> nodes_;
  client::Informer<api::ControllerRevision> revisions_;
  client::Fence pods_written_, written_;
  client::EventRecorder events_;
};

}  // namespace

std::unique_ptr<Controller> daemon_sets(const Context& context) {
  return std::make_unique<DaemonSets>(context);
}

}  // namespace skiff::controllers
