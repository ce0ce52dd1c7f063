#pragma once
// What the network hook needs of a network; `net` has the one that makes veth links.

#include <set>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "net/pod_network.hpp"

namespace skiff::kubelet {

class PodNetwork {
 public:
  virtual ~PodNetwork() = default;
  /// The pod's addresses, one a family, the main one first; an attached pod keeps its own.
  virtual Result<std::vector<std::string>> attach(const std::string& pod_uid, const UniqueFd& network) = 0;
  virtual Status detach(const std::string& pod_uid) = 0;
  virtual Status sweep(const std::set<std::string>& live) = 0;
};

inline std::vector<std::string> texts(const std::vector<net::Address>& addresses) {
  std::vector<std::string> texts;
  for (net::Address address : addresses) texts.push_back(address.str());
  return texts;
}

class VethNetwork final : public PodNetwork {
 public:
  explicit VethNetwork(net::PodNetwork& network) : network_(network) {}
  Result<std::vector<std::string>> attach(const std::string& pod_uid, const UniqueFd& network) override {
    TRY_ASSIGN(std::vector<net::Address> addresses, network_.attach(pod_uid, network));
    return texts(addresses);
  }
  Status detach(const std::string& pod_uid) override { return network_.detach(pod_uid); }
  Status sweep(const std::set<std::string>& live) override { return network_.sweep(live); }

 private:
  net::PodNetwork& network_;
};

}  // namespace skiff::kubelet
