#pragma once
// metrics.k8s.io from what the nodes measure.

#include "client/client.hpp"
#include "client/node_access.hpp"
#include "registry/usage_source.hpp"

namespace skiff::cluster {

/// `client` outlives the source.
registry::UsageSource usage_source(client::NodeAccessByName kubelets, client::Client& client);

/// One node's or pod's figures as the API shows them. Pure.
api::NodeMetrics node_metrics(const client::NodeUsage& node, std::map<std::string, std::string> labels);
api::PodMetrics pod_metrics(const client::PodUsage& pod);

}  // namespace skiff::cluster
