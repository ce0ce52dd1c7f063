#include "scheduler/filters.hpp"

#include <algorithm>

#include "scheduler/topology.hpp"

namespace skiff::scheduler {
namespace {

constexpr char kUnschedulableTaint[] = "node.kubernetes.io/unschedulable";

// A filter fills the verdict and returns true when the node does not fit.
bool refuse(NodeVerdict& verdict, const char* filter, std::string reason, bool hopeless) {
  verdict.filter = filter;
  verdict.reasons = {std::move(reason)};
  verdict.hopeless = hopeless;
  return true;
}

bool node_unschedulable(const PodInfo& pod, const NodeState& node, NodeVerdict& verdict) {
  if (!node.node->spec.unschedulable) return false;
  api::Taint taint;
  taint.key = kUnschedulableTaint;
  taint.effect = "NoSchedule";
  if (api::tolerates(pod.pod->spec.tolerations, taint)) return false;
  return refuse(verdict, "NodeUnschedulable", "node(s) were unschedulable", true);
}

bool node_name(const PodInfo& pod, const NodeState& node, NodeVerdict& verdict) {
  const std::string& wanted = pod.pod->spec.nodeName;
  if (wanted.empty() || wanted == node.node->metadata.name) return false;
  return refuse(verdict, "NodeName", "node(s) didn't match the requested node name", true);
}

bool taint_toleration(const PodInfo& pod, const NodeState& node, NodeVerdict& verdict) {
  if (api::tolerates_taints(pod.pod->spec, *node.node)) return false;
  return refuse(verdict, "TaintToleration", "node(s) had untolerated taint(s)", true);
}

bool node_affinity(const PodInfo& pod, const NodeState& node, NodeVerdict& verdict) {
  if (api::matches_node_affinity(pod.pod->spec, *node.node)) return false;
  return refuse(verdict, "NodeAffinity", "node(s) didn't match Pod's node affinity/selector", true);
}

bool node_ports(const PodInfo& pod, const NodeState& node, NodeVerdict& verdict) {
  if (pod.ports.empty()) return false;
  for (const auto& [key, other] : node.pods)
    for (const HostPort& taken : other->ports)
      for (const HostPort& wanted : pod.ports)
        if (collide(taken, wanted))
          return refuse(verdict, "NodePorts", "node(s) didn't have free ports for the requested pod ports",
                        false);
  return false;
}

bool node_resources(const PodInfo& pod, const NodeState& node, NodeVerdict& verdict) {
  std::vector<std::string> reasons;
  bool hopeless = false;
  auto check = [&](const std::string& name, std::int64_t wanted, std::int64_t total, std::int64_t used) {
    if (wanted == 0 || wanted <= total - used) return;
    reasons.push_back("Insufficient " + name);
    hopeless |= wanted > total;
  };
  if (static_cast<std::int64_t>(node.pods.size()) + 1 > node.max_pods) reasons.emplace_back("Too many pods");
  const Resources &wanted = pod.requests, &total = node.allocatable, &used = node.requested;
  check("cpu", wanted.milli_cpu, total.milli_cpu, used.milli_cpu);
  check("memory", wanted.memory, total.memory, used.memory);
  check("ephemeral-storage", wanted.ephemeral_storage, total.ephemeral_storage, used.ephemeral_storage);
  auto amount = [](const Resources& resources, const std::string& name) {
    auto found = resources.others.find(name);
    return found == resources.others.end() ? std::int64_t{0} : found->second;
  };
  for (const auto& [name, count] : wanted.others) check(name, count, amount(total, name), amount(used, name));
  if (reasons.empty()) return false;
  verdict.filter = "NodeResourcesFit";
  verdict.reasons = std::move(reasons);
  verdict.hopeless = hopeless;
  return true;
}

using Filter = bool (*)(const PodInfo&, const NodeState&, NodeVerdict&);

// In the order of kube-scheduler's default profile: the first refusal is the reason.
constexpr Filter kFilters[] = {node_unschedulable, node_name,  taint_toleration,
                               node_affinity,      node_ports, node_resources};

}  // namespace

std::vector<NodeVerdict> filter_nodes(const PodInfo& pod, const ClusterState& cluster) {
  const Topology topology(pod, cluster);
  std::vector<NodeVerdict> verdicts;
  for (const NodeState* node : cluster.nodes()) {
    NodeVerdict& verdict = verdicts.emplace_back();
    verdict.node = node->node->metadata.name;
    bool refused = std::any_of(std::begin(kFilters), std::end(kFilters),
                               [&](Filter filter) { return filter(pod, *node, verdict); });
    if (!refused) topology.refuses(*node->node, verdict);
  }
  return verdicts;
}

}  // namespace skiff::scheduler
