#include <fmt/core.h>

#include "api/gen/nodes.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "client/http_client.hpp"
#include "cluster/kubeconfig.hpp"

namespace skiff::cli {
namespace {

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

}  // namespace

int node_list(const Options& options) {
  Result<client::KubeconfigEntry> entry = cluster::read_cluster_kubeconfig(options.cluster);
  if (!entry.ok()) return fail(entry.error(), "`skiff start` makes a cluster."), kNotRunning;
  Result<std::vector<api::Node>> nodes = cluster::fetch_nodes(entry.value());
  if (!nodes.ok()) return fail(nodes.error(), "`skiff status` says how the cluster is."), kNotRunning;
  std::vector<std::vector<std::string>> rows = {{"NAME", "STATUS", "ADDRESS", "PODS", "VERSION"}};
  for (const api::Node& node : nodes.value())
    rows.push_back({node.metadata.name, ready_text(node), internal_address(node), node.spec.podCIDR,
                    node.status.nodeInfo.kubeletVersion});
  print_table(rows);
  return kDone;
}

}  // namespace skiff::cli
