#pragma once
// What NetworkPolicies mean for one node's pods. Pure.

#include <map>
#include <string>
#include <vector>

#include "api/gen/core.hpp"
#include "api/gen/networking.hpp"
#include "api/gen/pod.hpp"
#include "client/object.hpp"
#include "net/policy_rules.hpp"

namespace skiff::proxy {

/// A pod as policies see it, or something that stands for one.
struct PolicyPod {
  std::string namespace_, node;
  std::map<std::string, std::string> labels;
  std::vector<net::Address> addresses;  // one a family
  struct Port {
    std::string name;
    net::Protocol protocol;
    std::uint16_t number;
  };
  std::vector<Port> ports;  // those with a name
};

/// nullopt: it has no address of its own (yet), or will not use it any more. `addresses` are for a pod
/// whose status does not say them yet.
std::optional<PolicyPod> policy_pod(const api::Pod& pod, std::vector<net::Address> addresses = {});

struct PolicyView {
  std::vector<client::Ref<api::NetworkPolicy>> policies;
  std::vector<PolicyPod> pods;                                           // of all nodes
  std::map<std::string, std::map<std::string, std::string>> namespaces;  // their labels
};

net::NodePolicies node_policies(const PolicyView& view, const std::string& node, net::Family family);

}  // namespace skiff::proxy
