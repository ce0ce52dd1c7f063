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

/// What rules are made from: one look at the caches.
struct ServiceView {
  std::vector<client::Ref<api::Service>> services;
  std::vector<client::Ref<api::EndpointSlice>> slices;
  std::vector<client::Ref<api::Pod>> pods;  // for their hostPorts
};

/// The rules of node `node`: traffic policies Local keep to that node's endpoints, hostPorts to its pods.
std::vector<net::ServiceRule> service_rules(const ServiceView& view, const std::string& node);

/// The Service a slice belongs to.
client::ObjectKey service_of(const api::EndpointSlice& slice);

net::Protocol protocol_of(const std::string& name);  // "TCP", "UDP", "SCTP"

}  // namespace skiff::proxy
