#pragma once
// What the network hook needs of a network; `net` has the one that makes veth links.

#include <set>
#include <string>

#include "base/fd.hpp"
#include "net/pod_network.hpp"

namespace skiff::kubelet {

class PodNetwork {
 public:
  virtual ~PodNetwork() = default;
  /// The pod's address; an attached pod keeps its own.
  virtual Result<std::string> attach(const std::string& pod_uid, const UniqueFd& network) = 0;
  virtual Status detach(const std::string& pod_uid) = 0;
  virtual Status sweep(const std::set<std::string>& live) = 0;
};

class VethNetwork final : public PodNetwork {
 public:
  explicit VethNetwork(net::PodNetwork& network) : network_(network) {}
  Result<std::string> attach(const std::string& pod_uid, const UniqueFd& network) override {
    TRY_ASSIGN(net::Ipv4 address, network_.attach(pod_uid, network));
    return address.str();
  }
  Status detach(const std::string& pod_uid) override { return network_.detach(pod_uid); }
  Status sweep(const std::set<std::string>& live) override { return network_.sweep(live); }

 private:
  net::PodNetwork& network_;
};

}  // namespace skiff::kubelet
