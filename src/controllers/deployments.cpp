// Rolls Deployments out over ReplicaSets (pkg/controller/deployment).

#include "controllers/deployment_status.hpp"
#include "controllers/behind.hpp"
#include "controllers/kinds.hpp"
#include "controllers/ownership.hpp"
#include "controllers/rollout.hpp"

#include "api/pods.hpp"
#include "client/event_recorder.hpp"

namespace skiff::controllers {
namespace {

// One reconcile: the deployment as stored, as it shall be, and its sets.
struct Rollout {
  Ref<api::Deployment> stored;
  api::Deployment next;  // annotations and status change on the way and are written once
  Sets all;
  Set latest;  // null until it is made
  Sets old;
};

class Deployments final : public Controller {
 public:
  explicit Deployments(const Context& context)
      : Controller(context, "deployment-controller", 2),
        deployments_(context.informers.of<api::Deployment>()),
        sets_(context.informers.of<api::ReplicaSet>()),
        pods_(context.informers.of<api::Pod>()),
        events_(context.client, context.clock, context.random, "deployment-controller") {
    index_orphans(sets_);
    deployments_.on_change([this](const Ref<api::Deployment>& before, const Ref<api::Deployment>& now) {
      queue().add(key_of(now ? *now : *before));
    });
    sets_.on_change([this](const Set& before, const Set& now) { set_changed(before, now); });
    pods_.on_change([this](const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
      if (!now) pod_gone(*before);
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<api::Deployment> deployment = deployments_.get(key);
    if (!deployment) {
      sets_written_.forget(key);
      written_.forget(key);
      return Requeue::never();
    }
    if (!sets_written_.passed(key, sets_.revision()) || !written_.passed(key, deployments_.revision()))
      return behind();
    TRY_ASSIGN(api::Selector selector, api::Selector::from(deployment->spec.selector));
    Rollout rollout{deployment, *deployment, {}, nullptr, {}};
    TRY_ASSIGN(rollout.all, claim<api::ReplicaSet>(client_, sets_, *deployment, selector));
    sort_out(rollout);
    Status acted = act(rollout);
    TRY(write_status(rollout));
    TRY(acted);
    std::optional<WallTime> due = deadline(rollout.next, rollout.next.status);
    if (!due) return Requeue::never();
    return Requeue::in(std::max<Duration>(*due - clock_.wall_now(), 1ms));
  }

 private:
  void set_changed(const Set& before, const Set& now) {
    for (const Set& set : {before, now})
      if (set)
        if (std::optional<ObjectKey> key = owner_key<api::Deployment>(set->metadata)) queue().add(*key);
    if (!now || client::controller_of(now->metadata) || now->metadata.deletionTimestamp) return;
    for (const Ref<api::Deployment>& deployment : deployments_.list(now->metadata.namespace_)) {
      Result<api::Selector> selector = api::Selector::from(deployment->spec.selector);
      if (selector.ok() && selector.value().matches(now->metadata.labels)) queue().add(key_of(*deployment));
    }
  }

  // A Recreate rollout goes on when the last old pod is gone.
  void pod_gone(const api::Pod& pod) {
    std::optional<ObjectKey> set_key = owner_key<api::ReplicaSet>(pod.metadata);
    if (!set_key) return;
    Set set = sets_.get(*set_key);
    if (!set) return;
    if (std::optional<ObjectKey> key = owner_key<api::Deployment>(set->metadata)) queue().add(*key);
  }

  static void sort_out(Rollout& rollout) {
    rollout.latest = find_new_set(rollout.next, rollout.all);
    rollout.old.clear();
    for (const Set& set : rollout.all)
      if (!rollout.latest || set->metadata.uid != rollout.latest->metadata.uid) rollout.old.push_back(set);
  }

  // Does what is to do now and leaves the wanted status in rollout.next.
  Status act(Rollout& rollout) {
    if (rollout.next.metadata.deletionTimestamp) {
      count(rollout);
      return ok();
    }
    note_pause(rollout.next);
    if (rollout.next.spec.paused || is_scaling(rollout.next, rollout.all)) return act_scale(rollout);
    return rollout.next.spec.strategy.type == "Recreate" ? act_recreate(rollout) : act_rolling(rollout);
  }

  void count(Rollout& rollout) {
    rollout.next.status = count_status(rollout.next, rollout.latest, rollout.all, wall_now());
  }
  void judge(Rollout& rollout) {
    rollout.next.status = rollout_status(rollout.next, rollout.latest, rollout.all, wall_now());
  }

  void note_pause(api::Deployment& deployment) {
    if (!has_deadline(deployment)) return;
    const api::DeploymentCondition* known = find_condition(deployment.status, "Progressing");
    if (known && known->reason == "ProgressDeadlineExceeded") return;
    bool noted = known && known->reason == "DeploymentPaused";
    if (deployment.spec.paused == noted) return;
    set_condition(deployment.status,
                  noted ? progressing("Unknown", "DeploymentResumed", "Deployment is resumed", wall_now())
                        : progressing("Unknown", "DeploymentPaused", "Deployment is paused", wall_now()));
  }

  Status act_scale(Rollout& rollout) {
    if (rollout.latest) TRY(sync_latest(rollout));
    TRY(scale(rollout, plan_scale(rollout.next, rollout.latest, rollout.old)));
    if (rollout.next.spec.paused) TRY(clean_up(rollout));
    count(rollout);
    return ok();
  }

  Status act_rolling(Rollout& rollout) {
    TRY(ensure_latest(rollout));
    if (!rollout.latest) return ok();  // the namespace is going
    std::int32_t wanted = rollout.next.spec.replicas.value_or(1), has = replicas_of(*rollout.latest);
    const bool settled = is_settled(rollout.all);  // else the sets' next status brings it back
    std::int32_t size = has > wanted ? wanted : settled ? new_set_size(rollout.next, rollout.all, has) : has;
    std::vector<Scaling> plan;
    if (settled && has == size) plan = plan_old_sets(rollout.next, rollout.old, *rollout.latest);
    if (has != size) {
      TRY(scale(rollout, {{rollout.latest, size}}));
    } else if (!plan.empty()) {
      TRY(scale(rollout, plan));
    } else if (is_complete(rollout.next, rollout.next.status)) {
      TRY(clean_up(rollout));
    }
    judge(rollout);
    return ok();
  }

  Status act_recreate(Rollout& rollout) {
    std::vector<Scaling> down;
    for (const Set& set : with_replicas(rollout.old)) down.push_back({set, 0});
    if (rollout.latest) TRY(sync_latest(rollout));
    if (!down.empty()) {
      TRY(scale(rollout, down));
    } else if (!old_pods_run(rollout)) {
      TRY(ensure_latest(rollout));
      std::int32_t wanted = rollout.next.spec.replicas.value_or(1);
      if (rollout.latest && replicas_of(*rollout.latest) != wanted)
        TRY(scale(rollout, {{rollout.latest, wanted}}));
      else if (is_complete(rollout.next, rollout.next.status))
        TRY(clean_up(rollout));
    }
    judge(rollout);
    return ok();
  }

  bool old_pods_run(const Rollout& rollout) {
    return std::any_of(rollout.old.begin(), rollout.old.end(), [&](const Set& set) {
      if (set->status.replicas > 0) return true;
      auto pods = pods_.owned_by(set->metadata.uid);
      return std::any_of(pods.begin(), pods.end(), [](const auto& pod) { return !api::is_finished(*pod); });
    });
  }

  // ---- the new set

  std::int64_t next_revision(const Rollout& rollout) {
    std::int64_t highest = 0;
    for (const Set& set : rollout.old) highest = std::max(highest, revision_number(set->metadata));
    return highest + 1;
  }

  Status ensure_latest(Rollout& rollout) {
    return rollout.latest ? sync_latest(rollout) : make_latest(rollout);
  }

  // A set that exists gets the revision, the annotations and minReadySeconds; the deployment repeats the
  // revision.
  Status sync_latest(Rollout& rollout) {
    api::ReplicaSet model = *rollout.latest;
    if (refresh(model, rollout)) {
      TRY_ASSIGN(Set updated,
                 client_.update_with_retry<api::ReplicaSet>(
                     key_of(*rollout.latest), [&](api::ReplicaSet& set) { return refresh(set, rollout); }));
      replace(rollout, updated);
    }
    rollout.next.metadata.annotations[kRevision] = rollout.latest->metadata.annotations.at(kRevision);
    if (has_deadline(rollout.next) && !find_condition(rollout.next.status, "Progressing"))
      set_condition(rollout.next.status,
                    progressing("True", "FoundNewReplicaSet",
                                fmt::format("Found new replica set \"{}\"", rollout.latest->metadata.name),
                                wall_now()));
    return ok();
  }

  bool refresh(api::ReplicaSet& set, const Rollout& rollout) {
    bool annotated = set_revision_annotations(set, rollout.next, next_revision(rollout));
    bool timed = set.spec.minReadySeconds != rollout.next.spec.minReadySeconds;
    set.spec.minReadySeconds = rollout.next.spec.minReadySeconds;
    return annotated || timed;
  }

  api::ReplicaSet new_set(const Rollout& rollout) {
    const api::Deployment& deployment = rollout.next;
    std::string hash = template_hash(deployment.spec.template_, deployment.status.collisionCount);
    api::ReplicaSet set;
    set.metadata.name = deployment.metadata.name + "-" + hash;
    set.metadata.namespace_ = deployment.metadata.namespace_;
    set.metadata.ownerReferences = {client::controller_ref(deployment)};
    set.spec.template_ = deployment.spec.template_;
    set.spec.template_.metadata.labels[kTemplateHash] = hash;
    set.metadata.labels = set.spec.template_.metadata.labels;
    set.spec.selector = deployment.spec.selector;
    set.spec.selector.matchLabels[kTemplateHash] = hash;
    set.spec.minReadySeconds = deployment.spec.minReadySeconds;
    bool may_grow = deployment.spec.strategy.type == "Recreate" || is_settled(rollout.old);
    set.spec.replicas = may_grow ? new_set_size(deployment, rollout.old, 0) : 0;
    set_revision_annotations(set, deployment, next_revision(rollout));
    set_size_annotations(set, deployment);
    return set;
  }

  Status make_latest(Rollout& rollout) {
    api::ReplicaSet model = new_set(rollout);
    const std::string name = model.metadata.name;
    const std::int32_t size = *model.spec.replicas;
    Result<Set> created = client_.create(std::move(model));
    if (!created.ok()) {
      if (created.error().code() == Code::AlreadyExists) return meet_existing(rollout, name);
      if (is_namespace_going(created.error())) return ok();
      return fail_creation(rollout, name, created.error());
    }
    replace(rollout, created.value());
    if (size > 0) event(rollout, fmt::format("Scaled up replica set {} from 0 to {}", name, size));
    rollout.next.metadata.annotations[kRevision] = created.value()->metadata.annotations.at(kRevision);
    if (has_deadline(rollout.next))
      set_condition(rollout.next.status,
                    progressing("True", "NewReplicaSetCreated",
                                fmt::format("Created new replica set \"{}\"", name), wall_now()));
    return ok();
  }

  // Either our own set, made a moment ago, or another one with the same hash: then the next try hashes
  // differently.
  Status meet_existing(Rollout& rollout, const std::string& name) {
    TRY_ASSIGN(Set existing, client_.get<api::ReplicaSet>({rollout.next.metadata.namespace_, name}));
    const api::OwnerReference* owner = client::controller_of(existing->metadata);
    if (owner && owner->uid == rollout.next.metadata.uid && find_new_set(rollout.next, {existing})) {
      replace(rollout, existing);
      return sync_latest(rollout);
    }
    rollout.next.status.collisionCount = rollout.next.status.collisionCount.value_or(0) + 1;
    return error(Code::Conflict, "replica set {} exists and is not this deployment's", name);
  }

  Status fail_creation(Rollout& rollout, const std::string& name, const Error& why) {
    std::string message = fmt::format("Failed to create new replica set \"{}\": {}", name, why.message());
    if (has_deadline(rollout.next))
      set_condition(rollout.next.status, progressing("False", "ReplicaSetCreateError", message, wall_now()));
    events_.warning(client::reference_to(rollout.stored), "ReplicaSetCreateError", message);
    return why;
  }

  void replace(Rollout& rollout, const Set& updated) {
    sets_written_.wrote(key_of(*rollout.stored), client::revision_of(updated->metadata));
    std::erase_if(rollout.all, [&](const Set& set) { return set->metadata.uid == updated->metadata.uid; });
    rollout.all.push_back(updated);
    sort_out(rollout);
  }

  // ---- doing

  void event(const Rollout& rollout, const std::string& message) {
    events_.normal(client::reference_to(rollout.stored), "ScalingReplicaSet", message);
  }

  Status scale(Rollout& rollout, const std::vector<Scaling>& plan) {
    for (const Scaling& scaling : plan) {
      std::int32_t from = replicas_of(*scaling.set);
      TRY_ASSIGN(Set updated,
                 client_.update_with_retry<api::ReplicaSet>(key_of(*scaling.set), [&](api::ReplicaSet& set) {
                   bool annotated = set_size_annotations(set, rollout.next);
                   bool sized = replicas_of(set) != scaling.to;
                   set.spec.replicas = scaling.to;
                   return annotated || sized;
                 }));
      replace(rollout, updated);
      if (from != scaling.to)
        event(rollout,
              fmt::format("Scaled {} replica set {} from {} to {}", scaling.to > from ? "up" : "down",
                          scaling.set->metadata.name, from, scaling.to));
    }
    return ok();
  }

  Status clean_up(Rollout& rollout) {
    for (const Set& set : expired_sets(rollout.next, rollout.old)) {
      Result<AnyRef> removed = client_.remove<api::ReplicaSet>(key_of(*set), {.uid = set->metadata.uid});
      if (!removed.ok() && removed.error().code() != Code::NotFound) return std::move(removed).error();
    }
    return ok();
  }

  Status write_status(const Rollout& rollout) {
    const api::Deployment &next = rollout.next, &stored = *rollout.stored;
    if (next.status == stored.status && next.metadata.annotations == stored.metadata.annotations) return ok();
    Result<Ref<api::Deployment>> written = client_.update_status(next);
    if (!written.ok() && written.error().code() == Code::NotFound) return ok();
    TRY(written);
    written_.wrote(key_of(next), client::revision_of(written.value()->metadata));
    return ok();
  }

  client::Informer<api::Deployment> deployments_;
  client::Informer<api::ReplicaSet> sets_;
  client::Informer<api::Pod> pods_;
  client::Fence sets_written_, written_;
  client::EventRecorder events_;
};

}  // namespace

std::unique_ptr<Controller> deployments(const Context& context) {
  return std::make_unique<Deployments>(context);
}

}  // namespace skiff::controllers
