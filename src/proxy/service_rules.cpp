#include "proxy/service_rules.hpp"

#include <algorithm>
#include <set>
#include <tuple>

#include "api/pods.hpp"

namespace skiff::proxy {
namespace {

using client::ObjectKey;
using client::Ref;

constexpr std::uint32_t kDefaultAffinity = 10800;

/// Catches at an address of one family.
class Catcher {
 public:
  Catcher(net::Family family, std::int32_t port) : family_(family), port_(static_cast<std::uint16_t>(port)) {}
  void add(std::vector<net::Frontend>& frontends, const std::string& text) const {
    // Headless services ("None") have no rules.
    Result<net::Address> address = net::parse_address(text);
    if (address.ok() && address.value().family == family_) frontends.push_back({address.value(), port_});
  }

 private:
  const net::Family family_;
  const std::uint16_t port_;
};

/// Where a service's port is caught: by clients inside, by clients outside, at its load balancer.
struct Frontends {
  std::vector<net::Frontend> internal, external, balancer;
};

Frontends frontends_of(const api::Service& service, const api::ServicePort& port, net::Family family) {
  Frontends frontends;
  const Catcher at(family, port.port);
  std::vector<std::string> addresses = service.spec.clusterIPs;
  if (addresses.empty()) addresses.push_back(service.spec.clusterIP);
  for (const std::string& address : addresses) at.add(frontends.internal, address);
  for (const std::string& address : service.spec.externalIPs) at.add(frontends.external, address);
  for (const api::LoadBalancerIngress& ingress : service.status.loadBalancer.ingress)
    if (ingress.ipMode != "Proxy") at.add(frontends.balancer, ingress.ip);
  if (port.nodePort != 0)
    frontends.external.push_back({std::nullopt, static_cast<std::uint16_t>(port.nodePort)});
  return frontends;
}

/// An endpoint of one port, with what choosing among them looks at.
struct Candidate {
  net::Endpoint where;
  const api::Endpoint* endpoint;
  bool ready;
};

void add_candidates(std::vector<Candidate>& candidates, const api::EndpointSlice& slice, std::int32_t port) {
  for (const api::Endpoint& endpoint : slice.endpoints) {
    bool ready = true, serving = true, terminating = false;
    if (endpoint.conditions) {
      ready = endpoint.conditions->ready.value_or(true);
      serving = endpoint.conditions->serving.value_or(ready);
      terminating = endpoint.conditions->terminating.value_or(false);
    }
    if (!ready && !(serving && terminating)) continue;
    for (const std::string& text : endpoint.addresses)
      if (Result<net::Address> address = net::parse_address(text); address.ok())
        candidates.push_back({{address.value(), static_cast<std::uint16_t>(port)}, &endpoint, ready});
  }
}

std::vector<Candidate> candidates_of(const Slices& slices, const api::ServicePort& wanted, net::Family family) {
  std::vector<Candidate> candidates;
  for (const Ref<api::EndpointSlice>& slice : slices)
    for (const api::DiscoveryEndpointPort& port : slice->ports)
      if (slice->addressType == net::to_string(family) && port.name.value_or("") == wanted.name &&
          port.protocol == wanted.protocol && port.port)
        add_candidates(candidates, *slice, *port.port);
  return candidates;
}

/// The ready ones; while there are none, those that end but still serve.
std::vector<net::Endpoint> usable(const std::vector<Candidate>& candidates) {
  bool any_ready = std::any_of(candidates.begin(), candidates.end(), [](const auto& c) { return c.ready; });
  std::vector<net::Endpoint> chosen;
  for (const Candidate& candidate : candidates)
    if (candidate.ready == any_ready) chosen.push_back(candidate.where);
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());  // slices may overlap for a moment
  return chosen;
}

std::vector<Candidate> on_node(const std::vector<Candidate>& candidates, const std::string& node) {
  std::vector<Candidate> local;
  for (const Candidate& candidate : candidates)
    if (candidate.endpoint->nodeName == node) local.push_back(candidate);
  return local;
}

/// Those whose hints name this place. All of them when a ready one has no hints, or none is meant for here:
/// hints that do not cover everybody would leave some clients with nothing.
template <class Names>
std::vector<Candidate> hinted(const std::vector<Candidate>& candidates, const std::string& place,
                              Names&& names) {
  std::vector<Candidate> meant;
  for (const Candidate& candidate : candidates) {
    std::set<std::string> wanted;
    if (candidate.endpoint->hints) wanted = names(*candidate.endpoint->hints);
    if (candidate.ready && wanted.empty()) return {};
    if (candidate.ready && wanted.contains(place)) meant.push_back(candidate);
  }
  return meant;
}

std::vector<Candidate> near(const std::vector<Candidate>& candidates, const NodePlace& node) {
  std::vector<Candidate> meant = hinted(candidates, node.name, [](const api::EndpointHints& hints) {
    std::set<std::string> names;
    for (const api::ForNode& one : hints.forNodes) names.insert(one.name);
    return names;
  });
  if (meant.empty() && !node.zone.empty())
    meant = hinted(candidates, node.zone, [](const api::EndpointHints& hints) {
      std::set<std::string> names;
      for (const api::ForZone& one : hints.forZones) names.insert(one.name);
      return names;
    });
  return meant.empty() ? candidates : meant;
}

std::uint32_t affinity_of(const api::Service& service) {
  if (service.spec.sessionAffinity != "ClientIP") return 0;
  const auto& config = service.spec.sessionAffinityConfig;
  if (!config || !config->clientIP || !config->clientIP->timeoutSeconds) return kDefaultAffinity;
  return static_cast<std::uint32_t>(*config->clientIP->timeoutSeconds);
}

void append(std::vector<net::Frontend>& to, const std::vector<net::Frontend>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

/// The rules of one port. Frontends that are treated alike share a rule.
void add_port(std::vector<net::ServiceRule>& rules, const api::Service& service, const api::ServicePort& port,
              const std::vector<Candidate>& candidates, const NodePlace& node) {
  bool internal_local = service.spec.internalTrafficPolicy == "Local";
  bool external_local = service.spec.externalTrafficPolicy == "Local";
  std::vector<net::Endpoint> anywhere = usable(near(candidates, node));
  std::vector<net::Endpoint> local = usable(on_node(candidates, node.name));
  Frontends frontends = frontends_of(service, port, node.family);
  std::vector<net::Cidr> sources = balancer_sources(service, node.family);
  if (sources.empty()) append(frontends.external, std::exchange(frontends.balancer, {}));
  if (!internal_local && !external_local) append(frontends.internal, std::exchange(frontends.external, {}));
  net::ServiceRule rule{
      .id = fmt::format("{}:{}/{}", client::key_of(service).str(), port.port, port.protocol),
      .protocol = protocol_of(port.protocol),
      .affinity_seconds = affinity_of(service)};
  auto add = [&](const char* side, std::vector<net::Frontend>& caught) -> net::ServiceRule* {
    if (caught.empty()) return nullptr;
    net::ServiceRule& added = rules.emplace_back(rule);
    added.id += side;
    added.frontends = std::move(caught);
    added.backends = anywhere;
    return &added;
  };
  if (net::ServiceRule* inside = add("", frontends.internal); inside && internal_local)
    inside->backends = local;
  for (auto [side, caught] :
       {std::pair{"/external", &frontends.external}, {"/balancer", &frontends.balancer}}) {
    net::ServiceRule* outside = add(side, *caught);
    if (outside == nullptr) continue;
    if (external_local) outside->outside = local;
    if (caught == &frontends.balancer) outside->sources = sources;
  }
}

void add_host_ports(std::vector<net::ServiceRule>& rules, const api::Pod& pod, const api::Container& container,
                    net::Family family) {
  std::vector<net::Address> addresses = pod_addresses(pod);
  auto address = std::find_if(addresses.begin(), addresses.end(),
                              [&](const net::Address& one) { return one.family == family; });
  if (address == addresses.end()) return;
  for (const api::ContainerPort& port : container.ports) {
    if (port.hostPort == 0) continue;
    net::Frontend frontend{std::nullopt, static_cast<std::uint16_t>(port.hostPort)};
    if (!port.hostIP.empty() && port.hostIP != "0.0.0.0" && port.hostIP != "::") {
      Result<net::Address> host = net::parse_address(port.hostIP);
      // Loopback addresses cannot be translated: the reply would have no way back.
      if (!host.ok() || host.value().family != family || host.value().is_loopback()) continue;
      frontend.address = host.value();
    }
    rules.push_back({.id = fmt::format("hostport/{}/{}:{}/{}", pod.metadata.uid, port.hostIP, port.hostPort,
                                       port.protocol),
                     .protocol = protocol_of(port.protocol),
                     .frontends = {frontend},
                     .backends = {{*address, static_cast<std::uint16_t>(port.containerPort)}}});
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

std::vector<net::ServiceRule> service_rules(const api::Service& service, const Slices& slices,
                                            const NodePlace& node) {
  std::vector<net::ServiceRule> rules;
  if (service.spec.type == "ExternalName") return rules;
  for (const api::ServicePort& port : service.spec.ports)
    add_port(rules, service, port, candidates_of(slices, port, node.family), node);
  return rules;
}

std::vector<net::Endpoint> port_endpoints(const api::Service& service, const Slices& slices,
                                          const api::ServicePort& port) {
  return usable(candidates_of(slices, port, families_of(service).front()));
}

std::vector<net::ServiceRule> host_port_rules(const api::Pod& pod, const NodePlace& node) {
  std::vector<net::ServiceRule> rules;
  if (pod.spec.nodeName != node.name || pod.spec.hostNetwork || api::is_finished(pod)) return rules;
  for (const api::Container& container : pod.spec.initContainers)
    if (api::is_sidecar(container)) add_host_ports(rules, pod, container, node.family);
  for (const api::Container& container : pod.spec.containers) add_host_ports(rules, pod, container, node.family);
  return rules;
}

std::vector<net::Cidr> balancer_sources(const api::Service& service, net::Family family) {
  std::vector<net::Cidr> ranges;
  bool others = false;  // let in those of the other family only
  for (std::string text : service.spec.loadBalancerSourceRanges) {
    text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
    Result<net::Cidr> range = net::parse_cidr(text);
    if (!range.ok()) continue;
    others = others || range.value().family() != family;
    if (range.value().family() != family) continue;
    if (range.value().length == 0) return {};
    ranges.push_back(range.value());
  }
  // The kernel takes no ranges that overlap: of two that do, one is within the other.
  std::sort(ranges.begin(), ranges.end());
  std::vector<net::Cidr> apart;
  for (const net::Cidr& range : ranges)
    if (apart.empty() || !apart.back().overlaps(range)) apart.push_back(range);
  ranges = std::move(apart);
  // The unspecified address is nobody's.
  if (ranges.empty() && others) ranges.push_back({net::Address::any(family), sys::bits_of(family)});
  return ranges;
}

std::vector<net::Family> families_of(const api::Service& service) {
  std::vector<net::Family> families;
  for (const std::string& family : service.spec.ipFamilies)
    families.push_back(family == "IPv6" ? net::Family::V6 : net::Family::V4);
  if (families.empty()) families.push_back(net::Family::V4);
  return families;
}

std::vector<net::Address> pod_addresses(const api::Pod& pod) {
  std::vector<net::Address> addresses;
  auto add = [&](const std::string& text) {
    if (Result<net::Address> address = net::parse_address(text); address.ok()) addresses.push_back(address.value());
  };
  for (const api::PodIP& one : pod.status.podIPs) add(one.ip);
  if (addresses.empty()) add(pod.status.podIP);
  return addresses;
}

size_t local_endpoints(const Slices& slices, const std::string& node) {
  std::set<std::string> addresses;
  for (const Ref<api::EndpointSlice>& slice : slices)
    for (const api::Endpoint& endpoint : slice->endpoints) {
      bool ready = !endpoint.conditions || endpoint.conditions->ready.value_or(true);
      if (ready && endpoint.nodeName == node && slice->addressType == slices.front()->addressType)
        addresses.insert(endpoint.addresses.begin(), endpoint.addresses.end());
    }
  return addresses.size();
}

bool older(const client::Ref<api::Service>& a, const client::Ref<api::Service>& b) {
  return std::tuple(a->metadata.creationTimestamp, client::key_of(*a)) <
         std::tuple(b->metadata.creationTimestamp, client::key_of(*b));
}

}  // namespace skiff::proxy
