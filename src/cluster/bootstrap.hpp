#pragma once
// The objects that every cluster has from its first moment.

#include <string>
#include <vector>

#include "client/client.hpp"
#include "cluster/identity.hpp"
#include "cluster/state.hpp"

namespace skiff::cluster {

/// Namespaces, the kubernetes and kube-dns Services, the system PriorityClasses, the default StorageClass and roles, and
/// what aggregated API servers read to know users. What exists is left as it is, but for the last.
Status bootstrap_objects(client::Client& client, const Settings& settings, const Identity& identity);

/// Points the Service "kubernetes" at the API listeners inside the nodes.
Status publish_api_endpoints(client::Client& client, const std::vector<std::string>& addresses, std::uint16_t port);

/// Points the Service "kube-dns" at the DNS server in each node, for clients that look for its endpoints.
Status publish_dns_endpoints(client::Client& client, const std::vector<std::string>& addresses);

}  // namespace skiff::cluster
