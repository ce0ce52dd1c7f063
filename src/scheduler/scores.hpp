#pragma once
// Which of the nodes that fit is best (the score plugins of the default profile and their weights): pure.

#include <string>
#include <vector>

#include "scheduler/cluster_state.hpp"

namespace skiff::scheduler {

/// The candidates with the highest score, in the order given; at least one for a non-empty list.
std::vector<std::string> best_nodes(const PodInfo& pod, const ClusterState& cluster,
                                    const std::vector<std::string>& candidates);

}  // namespace skiff::scheduler
