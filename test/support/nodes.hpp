#pragma once
// Nodes for tests without a node lifecycle controller, or that do not want to wait for it.

#include <string>
#include <vector>

#include "api/gen/nodes.hpp"
#include "support/test_cluster.hpp"

namespace skiff::test {

/// Creates a node and takes away the taint with which admission greets every new one, as the node lifecycle controller
/// does for a ready node. Taints that `json` asks for stay.
template <class Time>
api::Node create_ready_node(TestCluster<Time>& cluster, const std::string& json) {
  const std::string name = cluster.template create<api::Node>(json).metadata.name;
  auto cleared = cluster.client.template update_with_retry<api::Node>({"", name}, [](api::Node& next) {
    return std::erase_if(next.spec.taints, [](const api::Taint& one) {
             return one.key == "node.kubernetes.io/not-ready" && one.effect == "NoSchedule";
           }) > 0;
  });
  if (!cleared.ok()) FAIL(cleared.error().message());
  return *cleared.value();
}

}  // namespace skiff::test
