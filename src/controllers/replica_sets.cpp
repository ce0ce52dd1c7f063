// Keeps as many pods as a ReplicaSet or a ReplicationController asks for (pkg/controller/replicaset; the two
// kinds differ only in how they spell selector and template).

#include "controllers/behind.hpp"
#include "controllers/kinds.hpp"
#include "controllers/ownership.hpp"
#include "controllers/replica_plan.hpp"
#include "controllers/slow_start.hpp"

#include "api/gen/apps.hpp"
#include "api/pods.hpp"
#include "client/event_recorder.hpp"

namespace skiff::controllers {
namespace {

constexpr int kBurst = 500;  // most pods created or deleted in one go

Result<api::Selector> selector_of(const api::ReplicaSet& set) {
  return api::Selector::from(set.spec.selector);
}
Result<api::Selector> selector_of(const api::ReplicationController& set) {
  return api::Selector::from(set.spec.selector);
}
const api::PodTemplateSpec& template_of(const api::ReplicaSet& set) { return set.spec.template_; }
const api::PodTemplateSpec& template_of(const api::ReplicationController& set) {
  static const api::PodTemplateSpec kNone;
  return set.spec.template_ ? *set.spec.template_ : kNone;
}

// What became of the attempt to reach the wanted number.
struct Managed {
  int difference = 0;  // active minus wanted
  int done = 0;
  std::optional<Error> error;
};

template <class Set>
class ReplicaController final : public Controller {
 public:
  ReplicaController(const Context& context, std::string name)
      : Controller(context, name, 2),
        sets_(context.informers.of<Set>()),
        pods_(context.informers.of<api::Pod>()),
        events_(context.client, context.clock, context.random, name) {
    index_orphans(pods_);
    sets_.on_change(
        [this](const Ref<Set>& before, const Ref<Set>& now) { queue().add(key_of(now ? *now : *before)); });
    pods_.on_change(
        [this](const Ref<api::Pod>& before, const Ref<api::Pod>& now) { pod_changed(before, now); });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<Set> set = sets_.get(key);
    if (!set) {
      pods_written_.forget(key);
      set_written_.forget(key);
      return Requeue::never();
    }
    // A cache behind our own last write would make us repeat it; the event of that write wakes this key
    // again.
    if (!pods_written_.passed(key, pods_.revision()) || !set_written_.passed(key, sets_.revision()))
      return behind();
    TRY_ASSIGN(api::Selector selector, selector_of(*set));
    TRY_ASSIGN(Pods pods, claim<api::Pod>(client_, pods_, *set, selector));
    Managed managed;
    if (!set->metadata.deletionTimestamp) managed = manage(*set, pods);
    // What was just done shows in the pods' events, which count again.
    if (managed.done == 0 || managed.error) TRY(write_status(*set, pods, managed));
    if (managed.error) return *managed.error;
    std::optional<WallTime> due = next_available(pods, set->spec.minReadySeconds, wall_now());
    if (!due) return Requeue::never();
    return Requeue::in(std::max<Duration>(*due - clock_.wall_now(), 1ms));
  }

 private:
  void pod_changed(const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
    for (const Ref<api::Pod>& pod : {before, now})
      if (pod)
        if (std::optional<ObjectKey> key = owner_key<Set>(pod->metadata)) queue().add(*key);
    if (!now || client::controller_of(now->metadata) || now->metadata.deletionTimestamp) return;
    if (before && before->metadata.labels == now->metadata.labels && !client::controller_of(before->metadata))
      return;
    for (const Ref<Set>& set : sets_.list(now->metadata.namespace_)) {
      Result<api::Selector> selector = selector_of(*set);
      if (selector.ok() && selector.value().matches(now->metadata.labels)) queue().add(key_of(*set));
    }
  }

  Managed manage(const Set& set, const Pods& pods) {
    Pods active;
    for (const Ref<api::Pod>& pod : pods)
      if (api::is_active(*pod)) active.push_back(pod);
    int difference = static_cast<int>(active.size()) - set.spec.replicas.value_or(1);
    if (difference < 0) return create_pods(set, std::min(-difference, kBurst));
    if (difference > 0) return delete_pods(set, std::move(active), std::min(difference, kBurst));
    return {};
  }

  Managed create_pods(const Set& set, int count) {
    const api::Pod model = pod_from(template_of(set), set);
    const api::ObjectReference about = client::reference_to(Ref<Set>(std::make_shared<Set>(set)));
    SlowStart created = slow_start(count, [&]() -> Status {
      Result<Ref<api::Pod>> pod = client_.create(model);
      if (!pod.ok()) {
        if (!is_namespace_going(pod.error()))
          events_.warning(about, "FailedCreate", "Error creating: " + pod.error().message());
        return std::move(pod).error();
      }
      pods_written_.wrote(key_of(set), client::revision_of(pod.value()->metadata));
      events_.normal(about, "SuccessfulCreate", "Created pod: " + pod.value()->metadata.name);
      return ok();
    });
    if (created.error && is_namespace_going(*created.error)) created.error.reset();  // nothing will ever help
    return {-count, created.done, std::move(created.error)};
  }

  Managed delete_pods(const Set& set, Pods active, int count) {
    const api::ObjectReference about = client::reference_to(Ref<Set>(std::make_shared<Set>(set)));
    Pods victims =
        choose_victims(std::move(active), related_pods(set), static_cast<size_t>(count), wall_now());
    Managed managed{count, 0, std::nullopt};
    for (const Ref<api::Pod>& pod : victims) {
      Result<AnyRef> removed = client_.remove<api::Pod>(key_of(*pod), {.uid = pod->metadata.uid});
      if (!removed.ok()) {
        if (removed.error().code() == Code::NotFound) continue;
        events_.warning(about, "FailedDelete", "Error deleting: " + removed.error().message());
        managed.error = std::move(removed).error();
        continue;
      }
      ++managed.done;
      if (removed.value()) pods_written_.wrote(key_of(set), client::revision_of(removed.value().metadata()));
      events_.normal(about, "SuccessfulDelete", "Deleted pod: " + pod->metadata.name);
    }
    return managed;
  }

  // The pods of all sets of the same Deployment: a rolling update spreads its old and new pods together.
  Pods related_pods(const Set& set) {
    const api::OwnerReference* controller = client::controller_of(set.metadata);
    if (!controller) return pods_.owned_by(set.metadata.uid);
    Pods related;
    for (const Ref<Set>& sibling : sets_.owned_by(controller->uid))
      for (Ref<api::Pod>& pod : pods_.owned_by(sibling->metadata.uid)) related.push_back(std::move(pod));
    return related;
  }

  Status write_status(const Set& set, const Pods& pods, const Managed& managed) {
    ReplicaCounts counts = count_replicas(pods, template_of(set), set.spec.minReadySeconds, wall_now());
    Set next = set;
    next.status.observedGeneration = set.metadata.generation;
    next.status.replicas = counts.replicas;
    next.status.fullyLabeledReplicas = counts.fully_labeled;
    next.status.readyReplicas = counts.ready;
    next.status.availableReplicas = counts.available;
    if constexpr (requires { next.status.terminatingReplicas; })
      next.status.terminatingReplicas = counts.terminating;
    note_failure(next, managed);
    if (next.status == set.status) return ok();
    Result<Ref<Set>> written = client_.update_status(std::move(next));
    if (!written.ok() && written.error().code() == Code::NotFound) return ok();
    TRY(written);
    set_written_.wrote(key_of(set), client::revision_of(written.value()->metadata));
    return ok();
  }

  void note_failure(Set& set, const Managed& managed) {
    auto& conditions = set.status.conditions;
    auto known = std::find_if(conditions.begin(), conditions.end(),
                              [](const auto& one) { return one.type == "ReplicaFailure"; });
    if (!managed.error) {
      if (known != conditions.end()) conditions.erase(known);
      return;
    }
    if (known != conditions.end()) return;
    auto& condition = conditions.emplace_back();
    condition.type = "ReplicaFailure";
    condition.status = "True";
    condition.reason = managed.difference < 0 ? "FailedCreate" : "FailedDelete";
    condition.message = managed.error->message();
    condition.lastTransitionTime = wall_now();
  }

  client::Informer<Set> sets_;
  client::Informer<api::Pod> pods_;
  client::Fence pods_written_, set_written_;
  client::EventRecorder events_;
};

}  // namespace

std::unique_ptr<Controller> replica_sets(const Context& context) {
  return std::make_unique<ReplicaController<api::ReplicaSet>>(context, "replicaset-controller");
}

std::unique_ptr<Controller> replication_controllers(const Context& context) {
  return std::make_unique<ReplicaController<api::ReplicationController>>(context, "replication-controller");
}

}  // namespace skiff::controllers
