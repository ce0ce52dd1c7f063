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

// Says in the pod why it goes; the pod as it is then. `exact`: only if it still is the one that was looked at.
Result<Ref<api::Pod>> note_disruption(Registry& registry, const api::Pod& pod, bool exact, WallTime now) {
  auto note = [&](api::Pod& next) {
    if (next.metadata.uid != pod.metadata.uid) return false;
    api::PodCondition condition;
    condition.type = "DisruptionTarget";
    condition.status = "True";
    condition.reason = "EvictionByEvictionAPI";
    condition.message = "Eviction API: evicting";
    condition.observedGeneration = next.metadata.generation;
    condition.lastTransitionTime = api::Time::from(now);
    return api::set_condition(next.status, std::move(condition));
  };
  if (!exact) return registry.local_client().update_with_retry<api::Pod>(client::key_of(pod), note, true);
  api::Pod next = pod;
  return note(next) ? registry.local_client().update_status(std::move(next)) : std::make_shared<const api::Pod>(pod);
}

struct Going {
  const Resource& pods;
  const api::Pod& pod;
  client::DeleteOptions options;
  bool exact;  // Conflict when somebody changed the pod since it was looked at
};

Status remove_pod(Registry& registry, Going going, RequestContext& context, WallTime now) {
  if (!context.dry_run) {
    TRY_ASSIGN(Ref<api::Pod> noted, note_disruption(registry, going.pod, going.exact, now));
    if (going.exact) going.options.resource_version = noted->metadata.resourceVersion;
  }
  Result<Removal> removed = registry.remove(going.pods, client::key_of(going.pod), going.options, context);
  return removed.ok() ? ok() : Status(removed.error());
}

bool has_ended(const api::Pod& pod) { return api::is_finished(pod) || pod.metadata.deletionTimestamp; }

// A pod that did not serve when it was looked at goes without being counted: should it serve by now, that must not be.
constexpr int kLooks = 20;

}  // namespace

Status evict(Registry& registry, const Resource& pods, const client::ObjectKey& key, const api::Eviction& eviction,
             RequestContext& context, WallTime now) {
  client::DeleteOptions options;
  if (eviction.deleteOptions) {
    options.grace_seconds = eviction.deleteOptions->gracePeriodSeconds;
    if (eviction.deleteOptions->preconditions) options.uid = eviction.deleteOptions->preconditions->uid.value_or("");
  }
  TRY_ASSIGN(Ref<api::Pod> pod, registry.local_client().get<api::Pod>(key));
  for (int look = 1; needs_no_budget(*pod); ++look) {
    Status removed = remove_pod(registry, {pods, *pod, options, !has_ended(*pod)}, context, now);
    if (removed.ok() || removed.error().code() != Code::Conflict || look == kLooks) return removed;
    TRY_ASSIGN(pod, registry.local_client().get<api::Pod>(key));
  }
  TRY_ASSIGN(std::vector<Ref<Budget>> budgets, budgets_of(registry, *pod));
  if (budgets.size() > 1)
    return Error(Code::Internal, "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
  const bool uncounted = !budgets.empty() && unhealthy_may_go(*budgets[0], *pod);
  if (!budgets.empty() && !uncounted) TRY(ask_budget(registry, *budgets[0], *pod, context.dry_run, now));
  Status removed = remove_pod(registry, {pods, *pod, options, uncounted}, context, now);
  if (uncounted && !removed.ok() && removed.error().code() == Code::Conflict)
    return refused(fmt::format("The disruption budget {} is still being processed by the server.", budgets[0]->metadata.name));
  return removed;
}

}  // namespace skiff::registry
