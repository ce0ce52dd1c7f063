#include "proxy/policies.hpp"

#include <algorithm>

#include "api/pods.hpp"
#include "api/selector.hpp"
#include "proxy/service_rules.hpp"

namespace skiff::proxy {
namespace {

using net::PolicyAllow;
using net::PortRange;

/// A selector that cannot be read selects nothing: what is allowed by mistake cannot be taken back.
api::Selector selector_of(const api::LabelSelector& selector) {
  Result<api::Selector> parsed = api::Selector::from(selector);
  return parsed.ok() ? parsed.value() : api::Selector::nothing();
}

bool applies(const api::NetworkPolicy& policy, const char* direction) {
  const std::vector<std::string>& types = policy.spec.policyTypes;
  if (types.empty()) return std::string_view(direction) == "Ingress" || !policy.spec.egress.empty();
  return std::find(types.begin(), types.end(), direction) != types.end();
}

void add_ports(const api::Container& container, std::vector<PolicyPod::Port>& ports) {
  for (const api::ContainerPort& port : container.ports)
    if (!port.name.empty())
      ports.push_back(
          {port.name, protocol_of(port.protocol), static_cast<std::uint16_t>(port.containerPort)});
}

/// The members of a rule that both directions have.
struct Rule {
  const std::vector<api::NetworkPolicyPeer>& peers;
  const std::vector<api::NetworkPolicyPort>& ports;
};

class Compiler {
 public:
  Compiler(const PolicyView& view, const std::string& node, net::Family family)
      : view_(view), node_(node), family_(family) {
    for (const auto& policy : view.policies) selectors_.push_back(selector_of(policy->spec.podSelector));
  }

  net::NodePolicies run() {
    for (const PolicyPod& pod : view_.pods) {
      if (pod.node != node_) continue;
      net::PodPolicy policy{of(pod, "Ingress"), of(pod, "Egress")};
      if (!policy.ingress && !policy.egress) continue;
      for (net::Address address : of_family(pod)) out_.pods[address] = policy;
    }
    return std::move(out_);
  }

 private:
  std::vector<net::Address> of_family(const PolicyPod& pod) const {
    std::vector<net::Address> addresses;
    for (net::Address address : pod.addresses)
      if (address.family == family_) addresses.push_back(address);
    return addresses;
  }

  std::optional<std::vector<PolicyAllow>> of(const PolicyPod& pod, const char* direction) {
    std::optional<std::vector<PolicyAllow>> allows;
    bool ingress = std::string_view(direction) == "Ingress";
    for (size_t i = 0; i < view_.policies.size(); ++i) {
      const api::NetworkPolicy& policy = *view_.policies[i];
      bool selected = policy.metadata.namespace_ == pod.namespace_ && applies(policy, direction) &&
                      selectors_[i].matches(pod.labels);
      if (!selected) continue;
      if (!allows) allows.emplace();
      std::string id = fmt::format("{}/{}", client::key_of(policy).str(), direction);
      for (size_t r = 0; ingress && r < policy.spec.ingress.size(); ++r)
        add(*allows, fmt::format("{}/{}", id, r), {policy.spec.ingress[r].from, policy.spec.ingress[r].ports},
            policy, &pod);
      for (size_t r = 0; !ingress && r < policy.spec.egress.size(); ++r)
        add(*allows, fmt::format("{}/{}", id, r), {policy.spec.egress[r].to, policy.spec.egress[r].ports},
            policy, nullptr);
    }
    if (!allows) return allows;
    std::sort(allows->begin(), allows->end());
    allows->erase(std::unique(allows->begin(), allows->end()), allows->end());
    return allows;
  }

  /// `server` is the pod whose ports are meant; null: each peer's own.
  void add(std::vector<PolicyAllow>& allows, const std::string& id, const Rule& rule,
           const api::NetworkPolicy& policy, const PolicyPod* server) {
    PolicyAllow allow;
    allow.anybody = rule.peers.empty();
    for (const api::NetworkPolicyPeer& peer : rule.peers) add_block(allow, peer);
    bool any_port = rule.ports.empty();
    std::vector<const api::NetworkPolicyPort*> named;
    for (const api::NetworkPolicyPort& port : rule.ports) {
      if (!port.port || !port.port->is_string)
        allow.ports.push_back(numbered(port));
      else if (server != nullptr)
        add_named(allow.ports, port, *server);
      else
        named.push_back(&port);
    }
    for (const api::NetworkPolicyPort* port : named) add_named_peers(allows, id, rule, policy, *port);
    if (!any_port && allow.ports.empty()) return;  // only names that nobody has
    if (!allow.anybody && !rule.peers.empty()) allow.pods = pods_of(id, rule, policy);
    allows.push_back(std::move(allow));
  }

  void add_block(PolicyAllow& allow, const api::NetworkPolicyPeer& peer) const {
    if (!peer.ipBlock) return;
    Result<net::Cidr> block = net::parse_cidr(peer.ipBlock->cidr);
    if (!block.ok() || block.value().family() != family_) return;
    std::vector<net::Cidr> except;
    for (const std::string& text : peer.ipBlock->except)
      if (Result<net::Cidr> hole = net::parse_cidr(text); hole.ok()) except.push_back(hole.value());
    for (const net::AddressRange& range : net::without(block.value(), except)) merge(allow.ranges, range);
  }

  /// The kernel takes no ranges that overlap.
  static void merge(std::vector<net::AddressRange>& ranges, net::AddressRange added) {
    std::vector<net::AddressRange> apart;
    for (const net::AddressRange& range : ranges) {
      if (range.last < added.first || added.last < range.first) {
        apart.push_back(range);
        continue;
      }
      added = {std::min(range.first, added.first), std::max(range.last, added.last)};
    }
    apart.push_back(added);
    std::sort(apart.begin(), apart.end());
    ranges = std::move(apart);
  }

  static PortRange numbered(const api::NetworkPolicyPort& port) {
    PortRange range{protocol_of(port.protocol), 0, 65535};
    if (!port.port) return range;
    range.first = static_cast<std::uint16_t>(port.port->number);
    range.last = static_cast<std::uint16_t>(port.endPort.value_or(port.port->number));
    return range;
  }

  static void add_named(std::vector<PortRange>& ports, const api::NetworkPolicyPort& wanted,
                        const PolicyPod& server) {
    for (const PolicyPod::Port& port : server.ports)
      if (port.name == wanted.port->text && port.protocol == protocol_of(wanted.protocol))
        ports.push_back({port.protocol, port.number, port.number});
  }

  /// A named port out of a pod is another number at each peer: peers are told apart by it.
  void add_named_peers(std::vector<PolicyAllow>& allows, const std::string& id, const Rule& rule,
                       const api::NetworkPolicy& policy, const api::NetworkPolicyPort& wanted) {
    std::map<PortRange, std::set<net::Address>> by_port;
    for (const PolicyPod& pod : view_.pods) {
      std::vector<PortRange> ports;
      add_named(ports, wanted, pod);
      if (ports.empty() || !(rule.peers.empty() || is_peer(pod, rule, policy))) continue;
      for (const PortRange& port : ports)
        for (net::Address address : of_family(pod)) by_port[port].insert(address);
    }
    for (auto& [port, addresses] : by_port) {
      std::string name = fmt::format("{}/{}/{}", id, net::to_string(port.protocol), port.first);
      out_.sets[name] = std::move(addresses);
      allows.push_back({.pods = name, .ranges = {}, .ports = {port}});
    }
  }

  std::string pods_of(const std::string& id, const Rule& rule, const api::NetworkPolicy& policy) {
    bool selects = std::any_of(rule.peers.begin(), rule.peers.end(),
                               [](const auto& peer) { return peer.podSelector || peer.namespaceSelector; });
    if (!selects) return "";
    if (out_.sets.contains(id)) return id;
    std::set<net::Address>& addresses = out_.sets[id];
    for (const PolicyPod& pod : view_.pods)
      if (is_peer(pod, rule, policy))
        for (net::Address address : of_family(pod)) addresses.insert(address);
    return id;
  }

  bool is_peer(const PolicyPod& pod, const Rule& rule, const api::NetworkPolicy& policy) const {
    return std::any_of(rule.peers.begin(), rule.peers.end(), [&](const api::NetworkPolicyPeer& peer) {
      if (!peer.podSelector && !peer.namespaceSelector) return false;
      if (peer.podSelector && !selector_of(*peer.podSelector).matches(pod.labels)) return false;
      if (!peer.namespaceSelector) return pod.namespace_ == policy.metadata.namespace_;
      auto labels = view_.namespaces.find(pod.namespace_);
      return labels != view_.namespaces.end() && selector_of(*peer.namespaceSelector).matches(labels->second);
    });
  }

  const PolicyView& view_;
  const std::string& node_;
  const net::Family family_;
  std::vector<api::Selector> selectors_;  // of the policies
  net::NodePolicies out_;
};

}  // namespace

std::optional<PolicyPod> policy_pod(const api::Pod& pod, std::vector<net::Address> addresses) {
  if (pod.spec.hostNetwork || api::is_finished(pod)) return std::nullopt;
  if (addresses.empty()) addresses = pod_addresses(pod);
  if (addresses.empty()) return std::nullopt;
  PolicyPod made{pod.metadata.namespace_, pod.spec.nodeName, pod.metadata.labels, std::move(addresses), {}};
  for (const api::Container& container : pod.spec.initContainers)
    if (api::is_sidecar(container)) add_ports(container, made.ports);
  for (const api::Container& container : pod.spec.containers) add_ports(container, made.ports);
  return made;
}

net::NodePolicies node_policies(const PolicyView& view, const std::string& node, net::Family family) {
  return Compiler(view, node, family).run();
}

}  // namespace skiff::proxy
