#include "proxy/service_rules.hpp"

#include <algorithm>
#include <map>

#include "api/pods.hpp"

namespace skiff::proxy {
namespace {

using client::ObjectKey;
using client::Ref;

void add_address(std::vector<net::Frontend>& frontends, const std::string& text, std::int32_t port) {
  // Headless services ("None") and IPv6 addresses have no rules.
  Result<net::Ipv4> address = net::parse_ipv4(text);
  if (address.ok()) frontends.push_back({address.value(), static_cast<std::uint16_t>(port)});
}

/// Where a service's port is caught by clients inside, and by clients outside.
struct Frontends {
  std::vector<net::Frontend> internal, external;
};

Frontends frontends_of(const api::Service& service, const api::ServicePort& port) {
  Frontends frontends;
  std::vector<std::string> addresses = service.spec.clusterIPs;
  if (addresses.empty()) addresses.push_back(service.spec.clusterIP);
  for (const std::string& address : addresses) add_address(frontends.internal, address, port.port);
  for (const std::string& address : service.spec.externalIPs)
    add_address(frontends.external, address, port.port);
  for (const api::LoadBalancerIngress& ingress : service.status.loadBalancer.ingress)
    if (ingress.ipMode != "Proxy") add_address(frontends.external, ingress.ip, port.port);
  if (port.nodePort != 0)
    frontends.external.push_back({std::nullopt, static_cast<std::uint16_t>(port.nodePort)});
  return frontends;
}

/// A service port's endpoints, ready ones apart from those that only still serve.
struct Backends {
  std::vector<net::Endpoint> ready, terminating;
  /// The terminating ones are the last resort while nothing else is ready.
  const std::vector<net::Endpoint>& usable() const { return ready.empty() ? terminating : ready; }
};

struct Place {
  const std::string& node;
  bool local_only;
};

void add_endpoints(Backends& backends, const api::EndpointSlice& slice, std::int32_t port,
                   const Place& place) {
  for (const api::Endpoint& endpoint : slice.endpoints) {
    if (place.local_only && endpoint.nodeName != place.node) continue;
    bool ready = true, serving = true, terminating = false;
    if (endpoint.conditions) {
      ready = endpoint.conditions->ready.value_or(true);
      serving = endpoint.conditions->serving.value_or(ready);
      terminating = endpoint.conditions->terminating.value_or(false);
    }
    if (!ready && !(serving && terminating)) continue;
    for (const std::string& text : endpoint.addresses) {
      Result<net::Ipv4> address = net::parse_ipv4(text);
      if (!address.ok()) continue;
      (ready ? backends.ready : backends.terminating)
          .push_back({address.value(), static_cast<std::uint16_t>(port)});
    }
  }
}

std::vector<net::Endpoint> backends_of(const std::vector<const api::EndpointSlice*>& slices,
                                       const api::ServicePort& wanted, const Place& place) {
  Backends backends;
  for (const api::EndpointSlice* slice : slices)
    for (const api::DiscoveryEndpointPort& port : slice->ports)
      if (port.name.value_or("") == wanted.name && port.protocol == wanted.protocol && port.port)
        add_endpoints(backends, *slice, *port.port, place);
  std::vector<net::Endpoint> usable = backends.usable();
  std::sort(usable.begin(), usable.end());
  usable.erase(std::unique(usable.begin(), usable.end()), usable.end());  // slices may overlap for a moment
  return usable;
}

using Slices = std::map<ObjectKey, std::vector<const api::EndpointSlice*>>;

void add_service(std::vector<net::ServiceRule>& rules, const api::Service& service,
                 const std::vector<const api::EndpointSlice*>& slices, const std::string& node) {
  bool internal_local = service.spec.internalTrafficPolicy == "Local";
  bool external_local = service.spec.externalTrafficPolicy == "Local";
  for (const api::ServicePort& port : service.spec.ports) {
    Frontends frontends = frontends_of(service, port);
    net::ServiceRule rule{
        .id = fmt::format("{}:{}/{}", client::key_of(service).str(), port.port, port.protocol),
        .protocol = protocol_of(port.protocol),
        .client_affinity = service.spec.sessionAffinity == "ClientIP"};
    auto add = [&](const char* side, const std::vector<net::Frontend>& caught, bool local) {
      if (caught.empty()) return;
      net::ServiceRule& added = rules.emplace_back(rule);
      added.id += side;
      added.frontends = caught;
      added.backends = backends_of(slices, port, {node, local});
    };
    if (internal_local != external_local) {
      add("/internal", frontends.internal, internal_local);
      add("/external", frontends.external, external_local);
      continue;
    }
    frontends.internal.insert(frontends.internal.end(), frontends.external.begin(), frontends.external.end());
    add("", frontends.internal, internal_local);
  }
}

void add_host_ports(std::vector<net::ServiceRule>& rules, const api::Pod& pod,
                    const api::Container& container) {
  Result<net::Ipv4> address = net::parse_ipv4(pod.status.podIP);
  if (!address.ok()) return;
  for (const api::ContainerPort& port : container.ports) {
    if (port.hostPort == 0) continue;
    net::Frontend frontend{std::nullopt, static_cast<std::uint16_t>(port.hostPort)};
    if (!port.hostIP.empty() && port.hostIP != "0.0.0.0") {
      Result<net::Ipv4> host = net::parse_ipv4(port.hostIP);
      // Loopback addresses cannot be translated: the reply would have no way back.
      if (!host.ok() || host.value().value >> 24 == 127) continue;
      frontend.address = host.value();
    }
    rules.push_back({.id = fmt::format("hostport/{}/{}:{}/{}", pod.metadata.uid, port.hostIP, port.hostPort,
                                       port.protocol),
                     .protocol = protocol_of(port.protocol),
                     .frontends = {frontend},
                     .backends = {{address.value(), static_cast<std::uint16_t>(port.containerPort)}}});
  }
}

}  // namespace

net::Protocol protocol_of(const std::string& name) {
  if (name == "UDP") return net::Protocol::Udp;
  return name == "SCTP" ? net::Protocol::Sctp : net::Protocol::Tcp;
}

ObjectKey service_of(const api::EndpointSlice& slice) {
  auto name = slice.metadata.labels.find("kubernetes.io/service-name");
  return {slice.metadata.namespace_, name == slice.metadata.labels.end() ? "" : name->second};
}

std::vector<net::ServiceRule> service_rules(const ServiceView& view, const std::string& node) {
  Slices slices;
  for (const Ref<api::EndpointSlice>& slice : view.slices)
    if (slice->addressType == "IPv4") slices[service_of(*slice)].push_back(slice.get());
  std::vector<net::ServiceRule> rules;
  for (const Ref<api::Service>& service : view.services)
    if (service->spec.type != "ExternalName")
      add_service(rules, *service, slices[client::key_of(*service)], node);
  for (const Ref<api::Pod>& pod : view.pods) {
    if (pod->spec.nodeName != node || pod->spec.hostNetwork || api::is_finished(*pod)) continue;
    for (const api::Container& container : pod->spec.initContainers)
      if (api::is_sidecar(container)) add_host_ports(rules, *pod, container);
    for (const api::Container& container : pod->spec.containers) add_host_ports(rules, *pod, container);
  }
  return rules;
}

}  // namespace skiff::proxy
