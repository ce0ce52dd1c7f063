// Says how many pods of a PodDisruptionBudget may be evicted now (pkg/controller/disruption).

#include "controllers/kinds.hpp"
#include "controllers/ownership.hpp"

#include "api/gen/apps.hpp"
#include "api/gen/policy.hpp"
#include "api/pods.hpp"

namespace skiff::controllers {
namespace {

// An eviction that the API server promised counts as gone until it is seen, or for this long.
constexpr Duration kPromise = 2min;

using Budget = api::PodDisruptionBudget;

bool selects(const Budget& budget, const api::Pod& pod) {
  if (!budget.spec.selector) return false;
  Result<api::Selector> selector = api::Selector::from(*budget.spec.selector);
  return selector.ok() && selector.value().matches(pod.metadata.labels);
}

void set_condition(api::PodDisruptionBudgetStatus& status, bool allowed, std::int64_t generation,
                   api::Time now) {
  api::Condition condition;
  condition.type = "DisruptionAllowed";
  condition.status = allowed ? "True" : "False";
  condition.reason = allowed ? "SufficientPods" : "InsufficientPods";
  condition.observedGeneration = generation;
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
        stateful_sets_(context.informers.of<api::StatefulSet>()) {
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
    if (!written_.passed(key, budgets_.revision())) return Requeue::never();
    std::vector<Ref<api::Pod>> pods = pods_.list(key.namespace_);
    std::erase_if(pods, [&](const auto& pod) { return api::is_finished(*pod) || !selects(*budget, *pod); });
    Budget next = *budget;
    TRY(fill(next, pods));
    if (!(next.status == budget->status)) {
      Result<Ref<Budget>> written = client_.update_status(std::move(next));
      if (!written.ok() && written.error().code() == Code::NotFound) return Requeue::never();
      TRY(written);
      written_.wrote(key, client::revision_of(written.value()->metadata));
    }
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
    if (by_scale) expected = expected_scale(pods);
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
    set_condition(status, status.disruptionsAllowed > 0, next.metadata.generation, wall_now());
    return ok();
  }

  bool still_promised(const std::pair<const std::string, api::Time>& promise,
                      const std::vector<Ref<api::Pod>>& pods) const {
    if (promise.second.wall() + kPromise < clock_.wall_now()) return false;
    return std::any_of(pods.begin(), pods.end(), [&](const Ref<api::Pod>& pod) {
      return pod->metadata.name == promise.first && !pod->metadata.deletionTimestamp;
    });
  }

  // The sum over the pods' controllers, each once; pods without one count for themselves.
  std::int32_t expected_scale(const std::vector<Ref<api::Pod>>& pods) const {
    std::map<std::string, std::int32_t> scales;
    for (const Ref<api::Pod>& pod : pods) {
      const api::OwnerReference* owner = client::controller_of(pod->metadata);
      std::pair<std::string, std::int32_t> scale =
          owner ? scale_of(pod->metadata.namespace_, *owner) : std::pair(pod->metadata.uid, 1);
      scales[scale.first] = scale.second;
    }
    std::int32_t sum = 0;
    for (const auto& [uid, scale] : scales) sum += scale;
    return sum;
  }

  std::pair<std::string, std::int32_t> scale_of(const std::string& ns,
                                                const api::OwnerReference& owner) const {
    const ObjectKey key{ns, owner.name};
    std::pair<std::string, std::int32_t> scale{owner.uid, 0};
    if (owner.kind == "ReplicaSet") {
      Ref<api::ReplicaSet> set = sets_.get(key);
      if (!set) return scale;
      scale.second = set->spec.replicas.value_or(1);
      const api::OwnerReference* above = client::controller_of(set->metadata);
      if (!above || above->kind != "Deployment") return scale;
      if (Ref<api::Deployment> deployment = deployments_.get({ns, above->name}))
        return {above->uid, deployment->spec.replicas.value_or(1)};
    } else if (owner.kind == "StatefulSet") {
      if (Ref<api::StatefulSet> set = stateful_sets_.get(key)) scale.second = set->spec.replicas.value_or(1);
    } else if (owner.kind == "ReplicationController") {
      if (auto controller = controllers_.get(key)) scale.second = controller->spec.replicas.value_or(1);
    }
    return scale;
  }

  client::Informer<Budget> budgets_;
  client::Informer<api::Pod> pods_;
  client::Informer<api::ReplicaSet> sets_;
  client::Informer<api::ReplicationController> controllers_;
  client::Informer<api::Deployment> deployments_;
  client::Informer<api::StatefulSet> stateful_sets_;
  client::Fence written_;
};

}  // namespace

std::unique_ptr<Controller> disruption_budgets(const Context& context) {
  return std::make_unique<DisruptionBudgets>(context);
}

}  // namespace skiff::controllers
