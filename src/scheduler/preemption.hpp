#pragma once
// Whom a pod may push aside to fit (pkg/scheduler/framework/preemption): pods of lower priority, on the node where it
// costs least.

#include <optional>
#include <string>
#include <vector>

#include "api/gen/policy.hpp"
#include "scheduler/filters.hpp"

namespace skiff::scheduler {

struct Victims {
  std::string node;
  std::vector<PodInfoRef> pods;  // most important first
  int violations = 0;            // of disruption budgets
};

struct PreemptionQuestion {
  const PodInfo& pod;
  ClusterState& cluster;  // pods leave it and come back meanwhile; the same at the end
  const PodVolumes& volumes;
  const std::vector<client::Ref<api::PodDisruptionBudget>>& budgets;
};

/// The cheapest node of those in `verdicts` that are not hopeless; notes in them what nodes would still say. Nothing:
/// no eviction helps.
std::optional<Victims> find_victims(const PreemptionQuestion& question, std::vector<NodeVerdict>& verdicts);

}  // namespace skiff::scheduler
