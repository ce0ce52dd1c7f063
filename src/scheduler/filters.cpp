#include "scheduler/filters.hpp"

#include <algorithm>

#include "api/nodes.hpp"

namespace skiff::scheduler {
namespace {

constexpr char kNoPorts[] = "node(s) didn't have free ports for the requested pod ports";
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
          return refuse(verdict, "NodePorts", kNoPorts, false);
  return false;
}

bool refuses_amounts(const PodInfo& pod, const NodeState& node, const Resources& taken, std::int64_t pods,
                     NodeVerdict& verdict) {
  std::vector<std::string> reasons;
  bool hopeless = false;
  auto check = [&](const std::string& name, std::int64_t wanted, std::int64_t total, std::int64_t used) {
    if (wanted == 0 || wanted <= total - used) return;
    reasons.push_back("Insufficient " + name);
    hopeless |= wanted > total;
  };
  if (pods + 1 > node.max_pods) reasons.emplace_back("Too many pods");
  const Resources &wanted = pod.requests, &total = node.allocatable;
  check("cpu", wanted.milli_cpu, total.milli_cpu, taken.milli_cpu);
  check("memory", wanted.memory, total.memory, taken.memory);
  check("ephemeral-storage", wanted.ephemeral_storage, total.ephemeral_storage, taken.ephemeral_storage);
  auto amount = [](const Resources& resources, const std::string& name) {
    auto found = resources.others.find(name);
    return found == resources.others.end() ? std::int64_t{0} : found->second;
  };
  for (const auto& [name, count] : wanted.others) check(name, count, amount(total, name), amount(taken, name));
  if (reasons.empty()) return false;
  verdict.filter = "NodeResourcesFit";
  verdict.reasons = std::move(reasons);
  verdict.hopeless = hopeless;
  return true;
}

bool node_resources(const PodInfo& pod, const NodeState& node, NodeVerdict& verdict) {
  return refuses_amounts(pod, node, node.requested, static_cast<std::int64_t>(node.pods.size()), verdict);
}

using Filter = bool (*)(const PodInfo&, const NodeState&, NodeVerdict&);

// In the order of kube-scheduler's default profile: the first refusal is the reason.
constexpr Filter kFilters[] = {node_unschedulable, node_name,  taint_toleration,
                               node_affinity,      node_ports, node_resources};

}  // namespace

NodeVerdict Filtering::check(const NodeState& node) const {
  NodeVerdict verdict;
  verdict.node = node.node->metadata.name;
  for (Filter filter : kFilters)
    if (filter(pod_, node, verdict)) return verdict;
  if (!pod_.claims.empty() && volumes_.refuses(node, cluster_, verdict)) return verdict;
  topology_.refuses(node, verdict);
  return verdict;
}

bool could_fit(const PodInfo& pod, const NodeState& node) {
  NodeVerdict ignored;
  return !node_unschedulable(pod, node, ignored) && !node_name(pod, node, ignored) &&
         !taint_toleration(pod, node, ignored) && !node_affinity(pod, node, ignored) &&
         !refuses_amounts(pod, node, {}, 0, ignored);
}

bool refuses_beside(const PodInfo& pod, const NodeState& node, const std::vector<PodInfoRef>& more,
                    NodeVerdict& verdict) {
  Resources used = node.requested;
  for (const PodInfoRef& one : more) {
    used.add(one->requests);
    for (const HostPort& taken : one->ports)
      for (const HostPort& wanted : pod.ports)
        if (collide(taken, wanted)) return refuse(verdict, "NodePorts", kNoPorts, false);
  }
  return refuses_amounts(pod, node, used, static_cast<std::int64_t>(node.pods.size() + more.size()), verdict);
}

std::vector<NodeVerdict> filter_nodes(const PodInfo& pod, const ClusterState& cluster, const PodVolumes& volumes) {
  const Filtering filtering(pod, cluster, volumes);
  std::vector<NodeVerdict> verdicts;
  verdicts.reserve(cluster.nodes().size());
  for (const NodeState* node : cluster.nodes()) verdicts.push_back(filtering.check(*node));
  return verdicts;
}

}  // namespace skiff::scheduler
