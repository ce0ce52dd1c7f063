#pragma once
// Which nodes a pod can run on, with Kubernetes' filters and reasons (pkg/scheduler/framework/plugins): pure.

#include <vector>

#include "api/nodes.hpp"
#include "scheduler/cluster_state.hpp"
#include "scheduler/explanation.hpp"

namespace skiff::scheduler {

/// Every node's verdict on `pod`, in the order of the names.
std::vector<NodeVerdict> filter_nodes(const PodInfo& pod, const ClusterState& cluster);

}  // namespace skiff::scheduler
