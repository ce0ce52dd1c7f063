// Pods with names, an order and claims of their own (pkg/controller/statefulset).

#include "controllers/behind.hpp"
#include "controllers/kinds.hpp"
#include "controllers/ownership.hpp"
#include "controllers/revisions.hpp"
#include "controllers/stateful_plan.hpp"

#include "api/pods.hpp"
#include "client/event_recorder.hpp"

namespace skiff::controllers {
namespace {

using Pods = std::vector<Ref<api::Pod>>;

std::string claim_name(const api::StatefulSet& set, const std::string& claim, int ordinal) {
  return fmt::format("{}-{}-{}", claim, set.metadata.name, ordinal);
}

// The claims of the set replace volumes of the same names.
void mount_claims(api::Pod& pod, const api::StatefulSet& set, int ordinal) {
  for (const api::PersistentVolumeClaim& claim : set.spec.volumeClaimTemplates) {
    std::erase_if(pod.spec.volumes, [&](const api::Volume& one) { return one.name == claim.metadata.name; });
    api::Volume& volume = pod.spec.volumes.emplace_back();
    volume.name = claim.metadata.name;
    volume.persistentVolumeClaim.emplace().claimName = claim_name(set, claim.metadata.name, ordinal);
  }
}

api::Pod pod_of(const api::StatefulSet& set, const api::PodTemplateSpec& pod_template,
                const StatefulPlan::New& next) {
  api::Pod pod = pod_from(pod_template, set);
  pod.metadata.generateName.clear();
  pod.metadata.name = fmt::format("{}-{}", set.metadata.name, next.ordinal);
  pod.metadata.labels["statefulset.kubernetes.io/pod-name"] = pod.metadata.name;
  pod.metadata.labels["apps.kubernetes.io/pod-index"] = std::to_string(next.ordinal);
  pod.metadata.labels[kRevisionHash] = next.revision;
  pod.spec.hostname = pod.metadata.name;
  pod.spec.subdomain = set.spec.serviceName;
  mount_claims(pod, set, next.ordinal);
  return pod;
}

// False when the claim is owned as the policy wants.
bool set_claim_owner(api::ObjectMeta& claim, const api::StatefulSet& set, const api::Pod& pod) {
  const auto& policy = set.spec.persistentVolumeClaimRetentionPolicy;
  const int first = set.spec.ordinals ? set.spec.ordinals->start.value_or(0) : 0;
  const int ordinal = *ordinal_of(set.metadata.name, pod.metadata.name);
  bool scaled_away = ordinal < first || ordinal >= first + set.spec.replicas.value_or(1);
  std::optional<api::OwnerReference> wanted;
  if (policy && policy->whenScaled == "Delete" && scaled_away) wanted = client::controller_ref(pod);
  else if (policy && policy->whenDeleted == "Delete") wanted = client::controller_ref(set);
  auto ours = [&](const api::OwnerReference& one) {
    return one.uid == set.metadata.uid || (one.kind == "Pod" && one.name == pod.metadata.name);
  };
  auto& owners = claim.ownerReferences;
  auto before = owners;
  std::erase_if(owners, [&](const api::OwnerReference& one) { return ours(one) && !(wanted && one == *wanted); });
  if (wanted && std::find(owners.begin(), owners.end(), *wanted) == owners.end()) owners.push_back(*wanted);
  return owners != before;
}

class StatefulSets final : public Controller {
 public:
  explicit StatefulSets(const Context& context)
      : Controller(context, "statefulset-controller", 2),
        sets_(context.informers.of<api::StatefulSet>()),
        pods_(context.informers.of<api::Pod>()),
        revisions_(context.informers.of<api::ControllerRevision>()),
        claims_(context.informers.of<api::PersistentVolumeClaim>()),
        events_(context.client, context.clock, context.random, "statefulset-controller") {
    index_orphans(pods_);
    sets_.on_change([this](const Ref<api::StatefulSet>& before, const Ref<api::StatefulSet>& now) {
      queue().add(key_of(now ? *now : *before));
    });
    pods_.on_change([this](const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
      for (const Ref<api::Pod>& pod : {before, now})
        if (pod)
          if (std::optional<ObjectKey> key = owner_key<api::StatefulSet>(pod->metadata)) queue().add(*key);
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<api::StatefulSet> set = sets_.get(key);
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
    std::erase_if(pods, [&](const auto& pod) { return !ordinal_of(set->metadata.name, pod->metadata.name); });
    History history(client_, revisions_, *set);
    TRY_ASSIGN(Revision update, history.ensure(set->spec.template_, set->spec.template_.metadata.labels));
    StatefulRevisions revisions{"", revision_hash(update->metadata)};
    revisions.current = current_of(*set, history, revisions.update);
    StatefulPlan plan = plan_stateful(*set, pods, revisions, wall_now());
    TRY(write_status(*set, stateful_status(*set, pods, revisions, wall_now())));
    for (const StatefulPlan::New& next : plan.create) TRY(create(*set, history, next));
    TRY(own_claims(*set, pods));
    for (const Ref<api::Pod>& pod : plan.remove) TRY(remove(*set, *pod));
    std::vector<std::string> in_use{revisions.current, revisions.update};
    for (const Ref<api::Pod>& pod : pods) in_use.push_back(revision_hash(pod->metadata));
    TRY(history.clean(set->spec.revisionHistoryLimit.value_or(10), in_use));
    bool waits = set->spec.minReadySeconds > 0 && set->status.availableReplicas != set->status.readyReplicas;
    return waits ? Requeue::in(std::chrono::seconds(set->spec.minReadySeconds)) : Requeue::never();
  }

 private:
  // The revision the status calls current, as a hash; the update when there is none (any more).
  static std::string current_of(const api::StatefulSet& set, const History& history,
                                const std::string& update) {
    const std::string prefix = set.metadata.name + "-";
    const std::string& name = set.status.currentRevision;
    if (!name.starts_with(prefix)) return update;
    std::string hash = name.substr(prefix.size());
    return history.find(hash) ? hash : update;
  }

  Status create(const api::StatefulSet& set, const History& history, const StatefulPlan::New& next) {
    api::PodTemplateSpec pod_template = set.spec.template_;
    if (Revision old = history.find(next.revision)) {
      TRY_ASSIGN(pod_template, template_in(*old));
    }
    TRY(ensure_claims(set, next.ordinal));
    api::Pod pod = pod_of(set, pod_template, next);
    const std::string name = pod.metadata.name;
    Result<Ref<api::Pod>> made = client_.create(std::move(pod));
    if (!made.ok()) {
      if (is_namespace_going(made.error())) return ok();
      if (made.error().code() == Code::AlreadyExists)
        return ok();  // the cache had not seen it, or it is a stranger's
      events_.warning(reference(set), "FailedCreate",
                      fmt::format("create Pod {} in StatefulSet {} failed error: {}", name, set.metadata.name,
                                  made.error().message()));
      return std::move(made).error();
    }
    pods_written_.wrote(key_of(set), client::revision_of(made.value()->metadata));
    events_.normal(reference(set), "SuccessfulCreate",
                   fmt::format("create Pod {} in StatefulSet {} successful", name, set.metadata.name));
    return ok();
  }

  Status ensure_claims(const api::StatefulSet& set, int ordinal) {
    for (const api::PersistentVolumeClaim& model : set.spec.volumeClaimTemplates) {
      api::PersistentVolumeClaim claim = model;
      claim.metadata.name = claim_name(set, model.metadata.name, ordinal);
      claim.metadata.namespace_ = set.metadata.namespace_;
      claim.status = {};
      for (const auto& [key, value] : set.spec.selector.matchLabels) claim.metadata.labels[key] = value;
      const std::string name = claim.metadata.name;
      Result<Ref<api::PersistentVolumeClaim>> made = client_.create(std::move(claim));
      if (!made.ok() && made.error().code() == Code::AlreadyExists) continue;
      TRY(made);
      events_.normal(reference(set), "SuccessfulCreate",
                     fmt::format("create Claim {} Pod {}-{} in StatefulSet {} success", name,
                                 set.metadata.name, ordinal, set.metadata.name));
    }
    return ok();
  }

  // By the retention policy a claim goes with the set, or with a pod that is scaled away: whoever owns it.
  Status own_claims(const api::StatefulSet& set, const Pods& pods) {
    for (const Ref<api::Pod>& pod : pods) {
      const int ordinal = *ordinal_of(set.metadata.name, pod->metadata.name);
      for (const api::PersistentVolumeClaim& model : set.spec.volumeClaimTemplates) {
        const ObjectKey key{set.metadata.namespace_, claim_name(set, model.metadata.name, ordinal)};
        Ref<api::PersistentVolumeClaim> claim = claims_.get(key);
        if (!claim) continue;
        api::PersistentVolumeClaim wanted = *claim;
        if (!set_claim_owner(wanted.metadata, set, *pod)) continue;
        auto written = client_.update_with_retry<api::PersistentVolumeClaim>(
            key, [&](api::PersistentVolumeClaim& next) { return set_claim_owner(next.metadata, set, *pod); });
        if (!written.ok() && written.error().code() != Code::NotFound) return std::move(written).error();
      }
    }
    return ok();
  }

  Status remove(const api::StatefulSet& set, const api::Pod& pod) {
    Result<AnyRef> removed = client_.remove<api::Pod>(key_of(pod), {.uid = pod.metadata.uid});
    if (!removed.ok() && removed.error().code() == Code::NotFound) return ok();
    TRY(removed);
    if (removed.value()) pods_written_.wrote(key_of(set), client::revision_of(removed.value().metadata()));
    events_.normal(
        reference(set), "SuccessfulDelete",
        fmt::format("delete Pod {} in StatefulSet {} successful", pod.metadata.name, set.metadata.name));
    return ok();
  }

  Status write_status(const api::StatefulSet& set, api::StatefulSetStatus status) {
    if (status == set.status) return ok();
    api::StatefulSet next = set;
    next.status = std::move(status);
    Result<Ref<api::StatefulSet>> written = client_.update_status(std::move(next));
    if (!written.ok() && written.error().code() == Code::NotFound) return ok();
    TRY(written);
    written_.wrote(key_of(set), client::revision_of(written.value()->metadata));
    return ok();
  }

  static api::ObjectReference reference(const api::StatefulSet& set) {
    return client::reference_to(Ref<api::StatefulSet>(std::make_shared<api::StatefulSet>(set)));
  }

  client::Informer<api::StatefulSet> sets_;
  client::Informer<api::Pod> pods_;
  client::Informer<api::ControllerRevision> revisions_;
  client::Informer<api::PersistentVolumeClaim> claims_;
  client::Fence pods_written_, written_;
  client::EventRecorder events_;
};

}  // namespace

std::unique_ptr<Controller> stateful_sets(const Context& context) {
  return std::make_unique<StatefulSets>(context);
}

}  // namespace skiff::controllers
