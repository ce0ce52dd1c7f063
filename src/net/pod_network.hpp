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
  // The node's ranges, one a family; the first address of each is the gateway, the pods' view of the node.
  std::vector<Cidr> pods;
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

  /// Gives the pod `eth0` with an address and a default route of each family, and `lo`. Takes a few milliseconds. A
  /// pod that is attached keeps its addresses. `pod_id` is any name that is unique on the node, such as the pod's UID.
  /// TooManyRequests: the range has no free address.
  Result<std::vector<Address>> attach(const std::string& pod_id, const UniqueFd& pod);
  /// Takes the pod off the network and frees its address; the link goes with the pod's namespace. A pod that
  /// is not attached is fine.
  Status detach(const std::string& pod_id);

  /// In the order of the families. NotFound: not attached.
  Result<std::vector<Address>> addresses_of(const std::string& pod_id) const;
  std::set<std::string> attached() const;  // the pod_ids
  /// Removes the links of all pods that are not in `live`: what an earlier life of skiff left behind.
  Status sweep(const std::set<std::string>& live);


 private:
  PodNetwork(std::unique_ptr<sys::Netlink> node, PodNetworkSpec spec);
  Status prepare(const UniqueFd& node);
  Status find_attached();
  Status remove(const std::string& pod_id);
  Result<std::uint64_t> reserve(const std::string& pod_id);
  Status connect(const std::string& pod_id, const UniqueFd& pod, std::uint64_t place);
  std::vector<Address> addresses_at(std::uint64_t place) const;

  const PodNetworkSpec spec_;
  Mutex netlink_mutex_;  // one request at a time on the node's socket
  std::unique_ptr<sys::Netlink> node_ GUARDED_BY(netlink_mutex_);
  mutable Mutex mutex_;
  // By pod_id its place in every range; reserved ones included.
  std::map<std::string, std::uint64_t> attached_ GUARDED_BY(mutex_);
  std::uint64_t cursor_ GUARDED_BY(mutex_) = 1;  // places are handed out in a ring
};

}  // namespace skiff::net
