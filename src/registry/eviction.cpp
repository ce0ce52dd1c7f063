#include "registry/eviction.hpp"

#include "api/gen/pod.hpp"
#include "api/pods.hpp"

namespace skiff::registry {
namespace {

using Budget = api::PodDisruptionBudget;
using client::Ref;

constexpr size_t kMostUnconfirmed = 2000;
constexpr int kRetrySeconds = 10;

Error refused(std::string cause, int retry_seconds = 0) {
  auto detail = std::make_shared<api::StatusDetail>();
  detail->causes.push_back({"DisruptionBudget", std::move(cause), ""});
  detail->retry_after_seconds = retry_seconds;
  return Error(Code::TooManyRequests, "Cannot evict pod as it would violate the pod's disruption budget.")
      .with(std::move(detail));
}

// Pods that have ended, have not begun or are on their way out serve nobody.
bool needs_no_budget(const api::Pod& pod) {
  return api::is_finished(pod) || pod.status.phase == "Pending" || pod.metadata.deletionTimestamp;
}

Result<std::vector<Ref<Budget>>> budgets_of(Registry& registry, const api::Pod& pod) {
  TRY_ASSIGN(auto all, registry.local_client().list<Budget>({.namespace_ = pod.metadata.namespace_}));
  std::erase_if(all, [&](const Ref<Budget>& budget) {
    if (!budget->spec.selector) return true;
    Result<api::Selector> selector = api::Selector::from(*budget->spec.selector);
    return !selector.ok() || !selector.value().matches(pod.metadata.labels);
  });
  return all;
}

// A pod that is not ready does not count as healthy: taking it costs nothing, where the policy says so.
bool unhealthy_may_go(const Budget& budget, const api::Pod& pod) {
  if (api::is_ready(pod)) return false;
  if (budget.spec.unhealthyPodEvictionPolicy == "AlwaysAllow") return true;
  return budget.status.currentHealthy >= budget.status.desiredHealthy && budget.status.desiredHealthy > 0;
}

Status take_from(Budget& budget, const std::string& pod, WallTime now) {
  if (budget.status.observedGeneration < budget.metadata.generation)
    return refused(fmt::format("The disruption budget {} is still being processed by the server.", budget.metadata.name),
                   kRetrySeconds);
  if (budget.status.disruptionsAllowed < 0)
    return api::forbidden(api::kind_of<Budget>(), budget.metadata.name, "pdb disruptions allowed is negative");
  if (budget.status.disruptedPods.size() > kMostUnconfirmed)
    return api::forbidden(api::kind_of<Budget>(), budget.metadata.name,
                          "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
  if (budget.status.disruptionsAllowed == 0)
    return refused(fmt::format("The disruption budget {} needs {} healthy pods and has {} currently", budget.metadata.name,
                               budget.status.desiredHealthy, budget.status.currentHealthy));
  --budget.status.disruptionsAllowed;
  budget.status.disruptedPods[pod] = api::Time::from(now);
  return ok();
}

Status ask_budget(Registry& registry, const Budget& budget, const api::Pod& pod, bool dry_run, WallTime now) {
  if (unhealthy_may_go(budget, pod)) return ok();
  Status taken = ok();
  auto written = registry.local_client().update_with_retry<Budget>(
      client::key_of(budget),
      [&](Budget& next) {
        taken = take_from(next, pod.metadata.name, now);
        return taken.ok() && !dry_run;
      },
      true);
  TRY(std::move(taken));
  return written.ok() ? ok() : Status(written.error());
}

Status note_disruption(Registry& registry, const api::Pod& pod, WallTime now) {
  auto written = registry.local_client().update_with_retry<api::Pod>(
      client::key_of(pod),
      [&](api::Pod& next) {
        if (next.metadata.uid != pod.metadata.uid) return false;
        api::PodCondition condition;
        condition.type = "DisruptionTarget";
        condition.status = "True";
        condition.reason = "EvictionByEvictionAPI";
        condition.message = "Eviction API: evicting";
        condition.observedGeneration = next.metadata.generation;
        condition.lastTransitionTime = api::Time::from(now);
        return api::set_condition(next.status, std::move(condition));
      },
      true);
  return written.ok() ? ok() : Status(written.error());
}

}  // namespace

Status evict(Registry& registry, const Resource& pods, const client::ObjectKey& key, const api::Eviction& eviction,
             RequestContext& context, WallTime now) {
  TRY_ASSIGN(Ref<api::Pod> pod, registry.local_client().get<api::Pod>(key));
  client::DeleteOptions options;
  if (eviction.deleteOptions) {
    options.grace_seconds = eviction.deleteOptions->gracePeriodSeconds;
    if (eviction.deleteOptions->preconditions) options.uid = eviction.deleteOptions->preconditions->uid.value_or("");
  }
  if (!needs_no_budget(*pod)) {
    TRY_ASSIGN(std::vector<Ref<Budget>> budgets, budgets_of(registry, *pod));
    if (budgets.size() > 1)
      return Error(Code::Internal, "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
    if (!budgets.empty()) TRY(ask_budget(registry, *budgets[0], *pod, context.dry_run, now));
    if (!context.dry_run) TRY(note_disruption(registry, *pod, now));
  }
  Result<Removal> removed = registry.remove(pods, key, options, context);
  return removed.ok() ? ok() : Status(removed.error());
}

}  // namespace skiff::registry
