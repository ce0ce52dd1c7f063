#pragma once
// The pods' side of a node's network: one veth a pod, addresses from the node's range, routes instead of a
// bridge (so that every packet of a pod passes the node's rules, also on its way to a neighbour).

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "net/address.hpp"

namespace skiff::sys {
class Netlink;
}

namespace skiff::net {

struct PodNetworkSpec {
  Cidr pods;  // the node's range; its first address is the gateway, the pods' view of the node
  int mtu = 1500;
};

/// The kernel is the record: which pod has which address is read back from the node's links and routes, so
/// nothing is lost or leaked when skiff is killed. Any thread.
class PodNetwork {
 public:
  /// Prepares the node's namespace (forwarding, loopback) and finds the pods that are attached already.
  /// `node` may be closed after the call.
  static Result<std::unique_ptr<PodNetwork>> open(const UniqueFd& node, const PodNetworkSpec& spec);
  ~PodNetwork();

  /// Gives the pod `eth0` with an address, a default route and `lo`. Takes a few milliseconds. A pod that is
  /// attached keeps its address. `pod_id` is any name that is unique on the node, such as the pod's UID.
  /// TooManyRequests: the range has no free address.
  Result<Ipv4> attach(const std::string& pod_id, const UniqueFd& pod);
  /// Takes the pod off the network and frees its address; the link goes with the pod's namespace. A pod that
  /// is not attached is fine.
  Status detach(const std::string& pod_id);

  /// NotFound: not attached.
  Result<Ipv4> address_of(const std::string& pod_id) const;
  std::map<std::string, Ipv4> attached() const;  // by pod_id
  /// Removes the links of all pods that are not in `live`: what an earlier life of skiff left behind.
  Status sweep(const std::set<std::string>& live);

  Ipv4 gateway() const { return spec_.pods.at(1); }

 private:
  PodNetwork(std::unique_ptr<sys::Netlink> node, PodNetworkSpec spec);
  Status prepare(const UniqueFd& node);
  Status find_attached();
  Status remove(const std::string& pod_id);
  Result<Ipv4> reserve(const std::string& pod_id);
  Status connect(const std::string& pod_id, const UniqueFd& pod, Ipv4 address);

  const PodNetworkSpec spec_;
  Mutex netlink_mutex_;  // one request at a time on the node's socket
  std::unique_ptr<sys::Netlink> node_ GUARDED_BY(netlink_mutex_);
  mutable Mutex mutex_;
  std::map<std::string, Ipv4> attached_ GUARDED_BY(mutex_);  // reserved ones included
  std::uint32_t cursor_ GUARDED_BY(mutex_) = 1;              // addresses are handed out in a ring
};

}  // namespace skiff::net
