#pragma once
// Why a pod is not placed, node by node, and how Kubernetes words it.

#include <string>
#include <vector>

namespace skiff::scheduler {

/// One node's answer; `reasons` is empty when the pod fits.
struct NodeVerdict {
  std::string node;
  std::string filter;                // "NodeResourcesFit"; the first filter that refused
  std::vector<std::string> reasons;  // "Insufficient cpu"
  bool hopeless = false;             // no eviction on this node would help
};

/// "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. ... preemption: ...". The text
/// of the FailedScheduling event and of the condition PodScheduled. `never_preempts`: the pod's
/// preemptionPolicy is Never.
std::string unschedulable_message(const std::vector<NodeVerdict>& verdicts, bool never_preempts);

}  // namespace skiff::scheduler
