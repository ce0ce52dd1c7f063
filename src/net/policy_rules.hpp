#pragma once
// Who may talk to a node's pods, and to whom they may: one nft table a family in the node's namespace.

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "net/address.hpp"

namespace skiff::sys {
class NftSession;
}

namespace skiff::net {

struct AddressRange {
  Address first, last;
  auto operator<=>(const AddressRange&) const = default;
};

/// `block` without `except`, as ranges in order.
std::vector<AddressRange> without(const Cidr& block, const std::vector<Cidr>& except);

struct PortRange {
  Protocol protocol = Protocol::Tcp;
  std::uint16_t first = 0, last = 65535;
  auto operator<=>(const PortRange&) const = default;
};

/// Connections that are allowed: peer and port must both match.
struct PolicyAllow {
  bool anybody = false;  // whoever the peer is
  std::string pods;      // the name of a set of addresses; empty: none
  std::vector<AddressRange> ranges;
  std::vector<PortRange> ports;  // none: all, of every protocol
  auto operator<=>(const PolicyAllow&) const = default;
};

/// What one pod may have; a direction that no policy is about is open.
struct PodPolicy {
  std::optional<std::vector<PolicyAllow>> ingress, egress;
  bool operator==(const PodPolicy&) const = default;
};

/// Of one family.
struct NodePolicies {
  std::map<std::string, std::set<Address>> sets;  // those that allows name
  std::map<Address, PodPolicy> pods;              // of the node, by address
  bool operator==(const NodePolicies&) const = default;
};

struct PolicyRulesSpec {
  Cidr nodes;  // the cluster's nodes and the host's side of them: always let in; its family is the table's
  // Addresses on the node that count as somebody else's (DNS, ingress): egress to them is looked at.
  std::set<Address> answering;
  std::vector<Cidr> answering_ranges{};
};

/// Packets of connections that stand are not looked at again. Calls are serialised; any thread. Rules outlive
/// this object; the first apply() replaces what it finds.
class PolicyRules {
 public:
  /// `node` is the node's namespace; it may be closed after the call.
  static Result<std::unique_ptr<PolicyRules>> open(const UniqueFd& node, PolicyRulesSpec spec);
  ~PolicyRules();

  /// Makes the node's rules be `wanted`, in one transaction that holds only what changed: all or nothing.
  Status apply(const NodePolicies& wanted);
  Family family() const { return spec_.nodes.family(); }

 private:
  struct State;
  PolicyRules(std::unique_ptr<sys::NftSession> nft, PolicyRulesSpec spec);

  const std::unique_ptr<sys::NftSession> nft_;
  const PolicyRulesSpec spec_;
  Mutex mutex_;
  std::unique_ptr<State> applied_ GUARDED_BY(mutex_);  // null before the first apply
};

}  // namespace skiff::net
