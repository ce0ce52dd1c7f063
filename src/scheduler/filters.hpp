#pragma once
// Which nodes a pod can run on, with Kubernetes' filters and reasons (pkg/scheduler/framework/plugins): pure.

#include <vector>

#include "scheduler/cluster_state.hpp"
#include "scheduler/explanation.hpp"
#include "scheduler/topology.hpp"
#include "scheduler/volumes.hpp"

namespace skiff::scheduler {

/// One pod's question to all nodes. Refers to what it was made with, for one decision.
class Filtering {
 public:
  Filtering(const PodInfo& pod, const ClusterState& cluster, const PodVolumes& volumes)
      : pod_(pod), cluster_(cluster), volumes_(volumes), topology_(pod, cluster) {}

  NodeVerdict check(const NodeState& node) const;
  const Topology& topology() const { return topology_; }

 private:
  const PodInfo& pod_;
  const ClusterState& cluster_;
  const PodVolumes& volumes_;
  const Topology topology_;
};

/// Whether `node` could take the pod if it were empty: name, taints, labels, sizes. What a change of a node is asked.
bool could_fit(const PodInfo& pod, const NodeState& node);
/// Refuses when there is no room for the pod beside what is there already and `more` pods.
bool refuses_beside(const PodInfo& pod, const NodeState& node, const std::vector<PodInfoRef>& more,
                    NodeVerdict& verdict);

/// Every node's verdict on `pod`, in the order of the names.
std::vector<NodeVerdict> filter_nodes(const PodInfo& pod, const ClusterState& cluster,
                                      const PodVolumes& volumes = {});

}  // namespace skiff::scheduler
