#pragma once
// Which nodes a pod can run on, with Kubernetes' filters and reasons (pkg/scheduler/framework/plugins): pure.

#include <vector>

#include "scheduler/cluster_state.hpp"
#include "scheduler/explanation.hpp"

namespace skiff::scheduler {

/// Every node's verdict on `pod`, in the order of the names.
std::vector<NodeVerdict> filter_nodes(const PodInfo& pod, const ClusterState& cluster);

/// The tolerations of a pod against a taint (v1helper.TolerationsTolerateTaint).
bool tolerates(const std::vector<api::Toleration>& tolerations, const api::Taint& taint);
/// spec.nodeSelector and required node affinity.
bool matches_node_affinity(const api::Pod& pod, const api::Node& node);
bool matches_term(const api::NodeSelectorTerm& term, const api::Node& node);
/// Whether no NoSchedule or NoExecute taint of the node keeps the pod off.
bool tolerates_taints(const api::Pod& pod, const api::Node& node);

}  // namespace skiff::scheduler
