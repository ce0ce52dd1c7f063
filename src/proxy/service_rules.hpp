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

/// The node that rules are for, and their family.
struct NodePlace {
  std::string name, zone;  // zone: topology.kubernetes.io/zone, or empty
  net::Family family = net::Family::V4;
};

/// A Service's endpoints as its slices say.
using Slices = std::vector<client::Ref<api::EndpointSlice>>;

/// Traffic policies Local keep to the node's endpoints; hints prefer those that are near.
std::vector<net::ServiceRule> service_rules(const api::Service& service, const Slices& slices,
                                            const NodePlace& node);

/// The endpoints of one port that take traffic, on any node: of the Service's first family.
std::vector<net::Endpoint> port_endpoints(const api::Service& service, const Slices& slices,
                                          const api::ServicePort& port);

/// The hostPorts of a pod that runs on the node.
std::vector<net::ServiceRule> host_port_rules(const api::Pod& pod, const NodePlace& node);

/// The clients of one family that its load balancer lets in; none: all.
std::vector<net::Cidr> balancer_sources(const api::Service& service, net::Family family);

/// By age, then by name: who comes first where two want the same.
bool older(const client::Ref<api::Service>& a, const client::Ref<api::Service>& b);

/// The families a Service has; of one without: IPv4.
std::vector<net::Family> families_of(const api::Service& service);

/// The addresses a pod has, once it has any.
std::vector<net::Address> pod_addresses(const api::Pod& pod);

/// How many endpoints of a Service on the node take traffic: what its health-check node port says.
size_t local_endpoints(const Slices& slices, const std::string& node);

/// The Service a slice belongs to.
client::ObjectKey service_of(const api::EndpointSlice& slice);

net::Protocol protocol_of(const std::string& name);  // "TCP", "UDP", "SCTP"

}  // namespace skiff::proxy
