#pragma once
// The host's side of a cluster: one veth a node, routes to pods and services, and one nft table for egress.
// Everything carries the cluster's id, so it can be found again, and goes with remove().

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "net/address.hpp"

namespace skiff::sys {
class Netlink;
}

namespace skiff::net {

/// The ranges of one family.
struct ClusterRanges {
  Cidr pods;  // of all nodes
  Cidr services;
  Cidr nodes;  // .1 is the host, the nodes follow

  /// The upper half of `nodes`: addresses of load balancers.
  Cidr balancers() const {
    return {nodes.at(nodes.size() / 2), nodes.length + 1};
  }
};

struct HostNetworkSpec {
  std::string cluster;                // at most 8 of [a-z0-9]; names links and the table
  std::vector<ClusterRanges> ranges;  // one a family; the first family is the main one
  /// Asked before every step that changes something; true: nothing more is done, as if the process were killed there.
  std::function<bool()> TEST_killed{};
};

struct NodeLink {
  int index = 0;            // 0..; one node one index, for good
  const UniqueFd& network;  // the node's namespace
  std::vector<Cidr> pods;   // the node's own ranges, in the order of the families
  int mtu = 1500;
};

/// Any thread; one change at a time.
class HostNetwork {
 public:
  /// `host` is the host's network namespace (sys::open_namespace(Network) unless a test makes its own).
  static Result<std::unique_ptr<HostNetwork>> open(UniqueFd host, HostNetworkSpec spec);

  /// Routes that keep stray packets of the cluster's ranges on the host, and the egress rules (where the host
  /// has a default route). Idempotent; call before ensure_node.
  Status ensure();
  /// Connects a node: `sk-host` with the node's addresses inside, a link and routes outside. Node 0 is also the
  /// way to services and load balancers, unless set_entry() named another. Idempotent.
  Status ensure_node(const NodeLink& node);
  /// A node that is gone or was never connected is fine.
  Status remove_node(int index);
  /// From now on node `index`, which is connected, is the way to services and load balancers.
  Status set_entry(int index);
  /// Leads single addresses of load balancers to other nodes than the entry: by address, the node's address of that
  /// family. Those not named go to the entry again.
  Status set_paths(const std::map<Address, Address>& paths);
  /// Takes everything of the cluster off the host. Idempotent.
  Status remove();

  /// A node's addresses in the order of the families; of none: the host's.
  std::vector<Address> node_addresses(int index) const;
  std::vector<Address> host_addresses() const { return node_addresses(-1); }

 private:
  HostNetwork(UniqueFd host, HostNetworkSpec spec) : host_(std::move(host)), spec_(std::move(spec)) {}
  Status step() const;
  std::string link_name(int index) const;
  std::string table_name() const;
  Status ensure_egress(const ClusterRanges& ranges);
  Status remove_egress(Family family);
  Status configure_host_side(const NodeLink& node) REQUIRES(mutex_);
  Status add_host_routes(sys::Netlink& netlink, const NodeLink& node, int link) REQUIRES(mutex_);
  Status configure_node_side(const NodeLink& node);

  const ClusterRanges* family_of(Address address) const;

  const UniqueFd host_;
  const HostNetworkSpec spec_;
  Mutex mutex_;
  int entry_ GUARDED_BY(mutex_) = 0;
};

struct RangeCollision {
  Cidr wanted;
  std::string with;  // "route 10.0.0.0/8 dev tun0", "address 10.96.0.1/24 dev eth0"
};

/// The first of `wanted` that overlaps an address or route of the namespace (default routes excepted).
Result<std::optional<RangeCollision>> find_collision(const UniqueFd& host, const std::vector<Cidr>& wanted);

}  // namespace skiff::net
