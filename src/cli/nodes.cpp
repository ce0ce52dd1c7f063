#include <fmt/core.h>

#include <map>

#include "api/gen/nodes.hpp"
#include "base/encoding.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "client/http_client.hpp"
#include "cluster/control_socket.hpp"
#include "cluster/kubeconfig.hpp"

namespace skiff::cli {
namespace {

constexpr char kRolePrefix[] = "node-role.kubernetes.io/";

std::string ready_text(const api::Node& node) {
  std::string text = "Unknown";
  for (const api::NodeCondition& condition : node.status.conditions)
    if (condition.type == "Ready") text = condition.status == "True" ? "Ready" : "NotReady";
  return node.spec.unschedulable ? text + ",SchedulingDisabled" : text;
}

std::string internal_address(const api::Node& node) {
  for (const api::NodeAddress& address : node.status.addresses)
    if (address.type == "InternalIP") return address.address;
  return "<none>";
}

std::string roles(const api::Node& node) {
  std::string text;
  for (const auto& [key, value] : node.metadata.labels)
    if (key.starts_with(kRolePrefix)) text += (text.empty() ? "" : ",") + key.substr(sizeof kRolePrefix - 1);
  return text.empty() ? "<none>" : text;
}

std::string amount(const api::Node& node, const char* resource) {
  auto found = node.status.capacity.find(resource);
  return found == node.status.capacity.end() ? "<none>" : found->second.text();
}

// running, stopped or paused, as the cluster's process says; "simulated" for those that it does not have.
std::map<std::string, std::string> powers(const Options& options) {
  std::map<std::string, std::string> states;
  Result<cluster::Words> lines = cluster::ask_cluster(options.cluster, {"node", "list"});
  if (!lines.ok()) return states;
  for (const std::string& line : lines.value())
    if (std::vector<std::string> fields = split(line, '\t'); fields.size() >= 2) states[fields[0]] = fields[1];
  return states;
}

int fail_asking(const Error& problem, const Options& options, const char* help = "`skiff node list` shows them.") {
  fail(problem, problem.code() == Code::NotFound ? "`skiff start` starts one." : help);
  return problem.code() == Code::NotFound && cluster::running_process(cluster::Paths(options.cluster)) == 0 ? kNotRunning
                                                                                                           : kFailed;
}

}  // namespace

int node_list(const Options& options) {
  Result<client::KubeconfigEntry> entry = cluster::read_cluster_kubeconfig(options.cluster);
  if (!entry.ok()) return fail(entry.error(), "`skiff start` makes a cluster."), kNotRunning;
  Result<std::vector<api::Node>> nodes = cluster::fetch_nodes(entry.value());
  if (!nodes.ok()) return fail(nodes.error(), "`skiff status` says how the cluster is."), kNotRunning;
  std::map<std::string, std::string> states = powers(options);
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "STATUS", "ROLES", "POWER", "ADDRESS", "PODS", "CPU", "MEMORY", "VERSION"}};
  for (const api::Node& node : nodes.value()) {
    auto state = states.find(node.metadata.name);
    rows.push_back({node.metadata.name, ready_text(node), roles(node), state == states.end() ? "simulated" : state->second,
                    internal_address(node), node.spec.podCIDR, amount(node, "cpu"), amount(node, "memory"),
                    node.status.nodeInfo.kubeletVersion});
  }
  print_table(rows);
  return kDone;
}

int node_add(const Options& options, const NodeOptions& wish) {
  for (int i = 0; i < wish.count; ++i) {
    Result<cluster::Words> added = cluster::ask_cluster(
        options.cluster, {"node", "add", wish.cpus, wish.memory, wish.labels, wish.taints, wish.zone});
    if (!added.ok()) return fail_asking(added.error(), options);
    for (const std::string& name : added.value()) fmt::print("node/{} added\n", name);
  }
  return kDone;
}

int node_command(const Options& options, const std::string& verb, const std::vector<std::string>& names) {
  static const std::map<std::string, const char*> kDid = {
      {"delete", "deleted"}, {"stop", "stopped"}, {"start", "started"}, {"pause", "paused"}, {"resume", "resumed"}};
  for (const std::string& name : names) {
    Result<cluster::Words> answer = cluster::ask_cluster(options.cluster, {"node", verb, name});
    if (!answer.ok()) return fail_asking(answer.error(), options);
    fmt::print("node/{} {}\n", name, kDid.at(verb));
  }
  return kDone;
}

int why(const Options& options, const std::string& namespace_, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    Result<cluster::Words> lines = cluster::ask_cluster(options.cluster, {"why", namespace_, name});
    if (!lines.ok()) return fail_asking(lines.error(), options, "`kubectl get pods -A` shows them.");
    for (const std::string& line : lines.value()) fmt::print("{}\n", line);
  }
  return kDone;
}

}  // namespace skiff::cli
