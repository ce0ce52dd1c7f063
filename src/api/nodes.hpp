#pragma once
// Whether a pod may run on a node, as far as labels, names and taints say
// (k8s.io/component-helpers/scheduling/corev1). Scheduler and DaemonSets ask alike.

#include <vector>

#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"

namespace skiff::api {

/// Whether any toleration tolerates the taint.
bool tolerates(const std::vector<Toleration>& tolerations, const Taint& taint);
/// Whether no NoSchedule or NoExecute taint of the node keeps the pod off.
bool tolerates_taints(const PodSpec& spec, const Node& node);
/// spec.nodeSelector and required node affinity.
bool matches_node_affinity(const PodSpec& spec, const Node& node);
bool matches_term(const NodeSelectorTerm& term, const Node& node);

}  // namespace skiff::api
