#pragma once
// Connections of the API server to Services of the cluster, through the network of a node.

#include "base/fd.hpp"
#include "client/client.hpp"
#include "client/node_access.hpp"

namespace skiff::apiserver {

/// The first node that runs here: each can reach every endpoint. Null: there is none.
std::shared_ptr<client::NodeAccess> any_node(client::Client& cluster, const client::NodeAccessByName& nodes);

/// Any thread.
class ServiceDialer {
 public:
  ServiceDialer(client::Client& cluster, client::NodeAccessByName nodes)
      : cluster_(cluster), nodes_(std::move(nodes)) {}

  /// A connection to the first of the service's endpoints that answers. Unavailable: there is no such service, port
  /// or endpoint.
  Result<UniqueFd> dial(const client::ObjectKey& service, std::int32_t port) const;

 private:
  client::Client& cluster_;
  client::NodeAccessByName nodes_;
};

}  // namespace skiff::apiserver
