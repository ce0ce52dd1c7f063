// Says how many pods of a PodDisruptionBudget may be evicted now (pkg/controller/disruption).

#include "controllers/behind.hpp"
#include "controllers/kinds.hpp"
#include "controllers/ownership.hpp"

#include "api/gen/apps.hpp"
#include "api/gen/autoscaling.hpp"
#include "api/gen/policy.hpp"
#include "api/pods.hpp"
#include "client/event_recorder.hpp"
#include "controllers/selector_text.hpp"

namespace skiff::controllers {
namespace {

// An eviction that the API server promised counts as gone until it is seen, or for this long.
constexpr Duration kPromise = 2min;
constexpr Duration kAnotherTry = 1min;  // when the owners' scale could not be found out

using Budget = api::PodDisruptionBudget;

bool selects(const Budget& budget, const api::Pod& pod) {
  if (!budget.spec.selector) return false;
  Result<api::Selector> selector = api::Selector::from(*budget.spec.selector);
  return selector.ok() && selector.value().matches(pod.metadata.labels);
}

// `failure`: why nothing could be counted; empty when all is well.
void set_condition(Budget& budget, const std::string& failure, api::Time now) {
  api::PodDisruptionBudgetStatus& status = budget.status;
  const bool allowed = failure.empty() && status.disruptionsAllowed > 0;
  api::Condition condition;
  condition.type = "DisruptionAllowed";
  condition.status = allowed ? "True" : "False";
  condition.reason = !failure.empty() ? "SyncFailed" : allowed ? "SufficientPods" : "InsufficientPods";
  condition.message = failure;
  condition.observedGeneration = budget.metadata.generation;
  condition.lastTransitionTime = now;
  for (api::Condition& known : status.conditions) {
    if (known.type != condition.type) continue;
    if (known.status == condition.status) condition.lastTransitionTime = known.lastTransitionTime;
    known = std::move(condition);
    return;
  }
  status.conditions.push_back(std::move(condition));
}

class DisruptionBudgets final : public Controller {
 public:
  explicit DisruptionBudgets(const Context& context)
      : Controller(context, "disruption-controller"),
        budgets_(context.informers.of<Budget>()),
        pods_(context.informers.of<api::Pod>()),
        sets_(context.informers.of<api::ReplicaSet>()),
        controllers_(context.informers.of<api::ReplicationController>()),
        deployments_(context.informers.of<api::Deployment>()),
        stateful_sets_(context.informers.of<api::StatefulSet>()),
        events_(context.client, context.clock, context.random, "controllermanager") {
    budgets_.on_change([this](const Ref<Budget>&, const Ref<Budget>& now) {
      if (now) queue().add(key_of(*now));
    });
    pods_.on_change([this](const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
      for (const Ref<Budget>& budget : budgets_.list((now ? now : before)->metadata.namespace_))
        if ((before && selects(*budget, *before)) || (now && selects(*budget, *now)))
          queue().add(key_of(*budget));
    });
    wake_all_on(deployments_);
    wake_all_on(sets_);
    wake_all_on(controllers_);
    wake_all_on(stateful_sets_);
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<Budget> budget = budgets_.get(key);
    if (!budget) {
      written_.forget(key);
      return Requeue::never();
    }
    if (!written_.passed(key, budgets_.revision())) return behind();
    std::vector<Ref<api::Pod>> pods = pods_.list(key.namespace_);
    std::erase_if(pods, [&](const auto& pod) { return api::is_finished(*pod) || !selects(*budget, *pod); });
    Budget next = *budget;
    if (pods.empty()) events_.normal(client::reference_to(budget), "NoPods", "No matching pods found");
    // Where it cannot be counted nothing may go.
    Status counted = fill(next, pods);
    if (!counted.ok()) {
      const std::string& why = counted.error().message();
      events_.warning(client::reference_to(budget), "CalculateExpectedPodCountFailed",
                      "Failed to calculate the number of expected pods: " + why);
      next.status.disruptionsAllowed = 0;
      next.status.observedGeneration = next.metadata.generation;
      set_condition(next, why, wall_now());
    }
    if (!(next.status == budget->status)) {
      Result<Ref<Budget>> written = client_.update_status(std::move(next));
      if (!written.ok() && written.error().code() == Code::NotFound) return Requeue::never();
      TRY(written);
      written_.wrote(key, client::revision_of(written.value()->metadata));
    }
    if (!counted.ok()) return Requeue::in(kAnotherTry);
    return budget->status.disruptedPods.empty() ? Requeue::never() : Requeue::in(kPromise);
  }

 private:
  // What a budget in percent refers to is the size its pods' controllers want.
  template <class T>
  void wake_all_on(client::Informer<T> informer) {
    informer.on_change([this](const Ref<T>& before, const Ref<T>& now) {
      if (before && now && before->spec.replicas == now->spec.replicas) return;
      for (const Ref<Budget>& budget : budgets_.list((now ? now : before)->metadata.namespace_))
        queue().add(key_of(*budget));
    });
  }

  Status fill(Budget& next, const std::vector<Ref<api::Pod>>& pods) {
    api::PodDisruptionBudgetStatus& status = next.status;
    std::erase_if(status.disruptedPods, [&](const auto& promise) { return !still_promised(promise, pods); });
    std::int32_t healthy = 0;
    for (const Ref<api::Pod>& pod : pods)
      if (api::is_active(*pod) && api::is_ready(*pod) && !status.disruptedPods.contains(pod->metadata.name))
        ++healthy;
    std::int32_t expected = static_cast<std::int32_t>(pods.size());
    bool by_scale = next.spec.maxUnavailable || (next.spec.minAvailable && next.spec.minAvailable->is_string);
    if (by_scale) {
      TRY_ASSIGN(expected, expected_scale(next, pods));
    }
    std::int32_t desired = 0;
    if (next.spec.maxUnavailable) {
      TRY_ASSIGN(std::int32_t most, next.spec.maxUnavailable->scaled(expected, true));
      desired = std::max(0, expected - most);
    } else if (next.spec.minAvailable) {
      TRY_ASSIGN(desired, next.spec.minAvailable->scaled(expected, true));
    }
    status.expectedPods = expected;
    status.currentHealthy = healthy;
    status.desiredHealthy = desired;
    status.disruptionsAllowed = expected > 0 ? std::max(0, healthy - desired) : 0;
    status.observedGeneration = next.metadata.generation;
    set_condition(next, "", wall_now());
    return ok();
  }

  bool still_promised(const std::pair<const std::string, api::Time>& promise,
                      const std::vector<Ref<api::Pod>>& pods) const {
    if (promise.second.wall() + kPromise < clock_.wall_now()) return false;
    return std::any_of(pods.begin(), pods.end(), [&](const Ref<api::Pod>& pod) {
      return pod->metadata.name == promise.first && !pod->metadata.deletionTimestamp;
    });
  }

  // The sum over the pods' controllers, each once. Pods without one have no share in it.
  Result<std::int32_t> expected_scale(const Budget& budget, const std::vector<Ref<api::Pod>>& pods) {
    std::map<std::string, std::int32_t> scales;
    bool unmanaged = false;
    for (const Ref<api::Pod>& pod : pods) {
      const api::OwnerReference* owner = client::controller_of(pod->metadata);
      unmanaged |= !owner;
      if (!owner || scales.contains(owner->uid)) continue;
      TRY_ASSIGN(Scaled scaled, scale_of(*pod, *owner));
      scales[scaled.uid] = scales[owner->uid] = 0;
      scales[scaled.uid] = scaled.replicas;
    }
    if (unmanaged)
      events_.warning(client::reference_to(std::make_shared<const Budget>(budget)), "UnmanagedPods",
                      fmt::format("Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a "
                                  "result, the status of the PDB cannot be calculated correctly, which may result in undefined "
                                  "behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an "
                                  "integer value.",
                                  selector_text(budget.spec.selector ? &*budget.spec.selector : nullptr)));
    std::int32_t sum = 0;
    for (const auto& [uid, scale] : scales) sum += scale;
    return sum;
  }

  // The caches may lag behind each other: an owner that is not there yet is asked for.
  template <class T>
  Ref<T> find(const client::Informer<T>& informer, const ObjectKey& key) {
    if (Ref<T> known = informer.get(key)) return known;
    Result<Ref<T>> live = client_.get<T>(key);
    return live.ok() ? live.value() : nullptr;
  }

  struct Scaled {
    std::string uid;  // of whoever decides: a Deployment for its ReplicaSets
    std::int32_t replicas;
  };
  Result<Scaled> scale_of(const api::Pod& pod, const api::OwnerReference& owner) {
    const std::string& ns = pod.metadata.namespace_;
    const ObjectKey key{ns, owner.name};
    if (owner.kind == "ReplicaSet") {
      if (Ref<api::ReplicaSet> set = find(sets_, key)) {
        const api::OwnerReference* above = client::controller_of(set->metadata);
        if (above && above->kind == "Deployment")
          if (Ref<api::Deployment> deployment = find(deployments_, {ns, above->name}))
            return Scaled{above->uid, deployment->spec.replicas.value_or(1)};
        return Scaled{owner.uid, set->spec.replicas.value_or(1)};
      }
    } else if (owner.kind == "StatefulSet") {
      if (Ref<api::StatefulSet> set = find(stateful_sets_, key)) return Scaled{owner.uid, set->spec.replicas.value_or(1)};
    } else if (owner.kind == "ReplicationController") {
      if (auto controller = find(controllers_, key)) return Scaled{owner.uid, controller->spec.replicas.value_or(1)};
    } else {
      return scale_of_other(key, owner);
    }
    return error(Code::NotFound, "found no controllers for pod \"{}\"", pod.metadata.name);
  }

  // Custom resources with a scale; DaemonSets and Jobs have none.
  Result<Scaled> scale_of_other(const ObjectKey& key, const api::OwnerReference& owner) {
    const api::KindInfo* kind = client_.find_kind(owner.apiVersion, owner.kind);
    if (!kind) return error(Code::NotFound, "no matches for kind \"{}\" in version \"{}\"", owner.kind, owner.apiVersion);
    bool scales = std::any_of(kind->subresources.begin(), kind->subresources.end(),
                              [](const api::SubresourceInfo& one) { return std::string_view(one.name) == "scale"; });
    if (!scales)
      return error(Code::Invalid, "{}{}{} does not implement the scale subresource", kind->plural, *kind->group ? "." : "",
                   kind->group);
    TRY_ASSIGN(AnyRef scale, client_.patch(*kind, key, client::PatchType::Merge, "{}", "scale"));
    Ref<api::Scale> typed = scale.as<api::Scale>();
    return Scaled{owner.uid, typed ? typed->spec.replicas : 0};
  }

  client::Informer<Budget> budgets_;
  client::Informer<api::Pod> pods_;
  client::Informer<api::ReplicaSet> sets_;
  client::Informer<api::ReplicationController> controllers_;
  client::Informer<api::Deployment> deployments_;
  client::Informer<api::StatefulSet> stateful_sets_;
  client::Fence written_;
  client::EventRecorder events_;
};

}  // namespace

std::unique_ptr<Controller> disruption_budgets(const Context& context) {
  return std::make_unique<DisruptionBudgets>(context);
}

}  // namespace skiff::controllers
