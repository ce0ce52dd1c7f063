#pragma once
// Which of the nodes that fit is best (the score plugins of the default profile and their weights): pure.

#include <vector>

#include "scheduler/cluster_state.hpp"
#include "scheduler/topology.hpp"

namespace skiff::scheduler {

/// What NodeResourcesFit prefers: nodes that are empty, or nodes that are full already.
enum class Packing { LeastAllocated, MostAllocated };

using NodeStates = std::vector<const NodeState*>;

/// The candidates with the highest score, in the order given; at least one for a non-empty list.
NodeStates best_nodes(const PodInfo& pod, const ClusterState& cluster, const Topology& topology,
                      const NodeStates& candidates, Packing packing = Packing::LeastAllocated);

}  // namespace skiff::scheduler
