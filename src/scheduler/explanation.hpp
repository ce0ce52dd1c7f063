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
  std::vector<std::string> even_empty;  // what it would still say without the pods of lower priority, if asked
};

/// Everything that was found out about a pod that has no node.
struct Refusal {
  std::vector<NodeVerdict> verdicts;
  std::string whole_pod;      // why no node was even asked; empty when they were
  std::string ineligible;     // why it may not preempt: "not eligible due to preemptionPolicy=Never."
  bool preempts = false;      // room is being made for it
};

/// "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. ... preemption: ...". The text
/// of the FailedScheduling event and of the condition PodScheduled.
std::string unschedulable_message(const Refusal& refusal);

inline constexpr char kNeverPreempts[] = "not eligible due to preemptionPolicy=Never.";

}  // namespace skiff::scheduler
