#pragma once
// The cluster's own kubeconfig, and its place in the user's.

#include <string>
#include <vector>

#include "api/gen/nodes.hpp"
#include "base/error.hpp"
#include "client/kubeconfig.hpp"
#include "skiff/config.hpp"

namespace skiff::cluster {

/// "skiff", or "skiff-NAME" for a cluster of another name.
std::string context_name(const ClusterConfig& config);

/// Merges the cluster into the user's file ($KUBECONFIG's first, else ~/.kube/config) and makes it the current
/// context; returns the file's path.
Result<std::string> merge_user_kubeconfig(const ClusterConfig& config);
/// Renews the credentials in every file that the cluster was merged into, as far as they still have it.
Status renew_user_kubeconfigs(const ClusterConfig& config);
/// Takes it out again. A user file that does not exist is fine.
Status forget_user_kubeconfig(const ClusterConfig& config);

/// NotFound: there is no such cluster.
Result<client::KubeconfigEntry> read_cluster_kubeconfig(const ClusterConfig& config);

/// The cluster's Nodes, asked of its API.
Result<std::vector<api::Node>> fetch_nodes(const client::KubeconfigEntry& entry);

}  // namespace skiff::cluster
