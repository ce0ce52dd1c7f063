#pragma once
// What Services mean for one node's packet rules. Pure.

#include <string>
#include <vector>

#include "api/gen/discovery.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/service.hpp"
#include "client/object.hpp"
#include "net/service_rules.hpp"

namespace skiff::proxy {

/// The node that rules are for.
struct NodePlace {
  std::string name, zone;  // zone: topology.kubernetes.io/zone, or empty
};

/// A Service's endpoints as its slices say, those of IPv4.
using Slices = std::vector<client::Ref<api::EndpointSlice>>;

/// Traffic policies Local keep to the node's endpoints; hints prefer those that are near.
std::vector<net::ServiceRule> service_rules(const api::Service& service, const Slices& slices,
                                            const NodePlace& node);

/// The endpoints of one port that take traffic, on any node.
std::vector<net::Endpoint> port_endpoints(const Slices& slices, const api::ServicePort& port);

/// The hostPorts of a pod that runs on node `node`.
std::vector<net::ServiceRule> host_port_rules(const api::Pod& pod, const std::string& node);

/// The clients that its load balancer lets in; none: all.
std::vector<net::Cidr> balancer_sources(const api::Service& service);

/// How many endpoints of a Service on the node take traffic: what its health-check node port says.
size_t local_endpoints(const Slices& slices, const std::string& node);

/// The Service a slice belongs to.
client::ObjectKey service_of(const api::EndpointSlice& slice);

net::Protocol protocol_of(const std::string& name);  // "TCP", "UDP", "SCTP"

}  // namespace skiff::proxy
