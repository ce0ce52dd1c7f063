#pragma once
// The objects that every cluster has from its first moment.

#include <string>

#include "client/client.hpp"
#include "cluster/state.hpp"

namespace skiff::cluster {

/// Namespaces, the kubernetes and kube-dns Services, the system PriorityClasses. What exists is left as it is.
Status bootstrap_objects(client::Client& client, const Settings& settings);

/// Points the Service "kubernetes" at the API listener inside the node.
Status publish_api_endpoint(client::Client& client, const std::string& address, std::uint16_t port);

}  // namespace skiff::cluster
