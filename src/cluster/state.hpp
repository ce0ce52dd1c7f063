#pragma once
// What a cluster keeps on disk besides its database: where things are, and the settings it was made with.

#include <map>
#include <string>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/random.hpp"
#include "net/host_network.hpp"
#include "skiff/config.hpp"

namespace skiff::cluster {

/// Where a cluster's files are. Cheap; touches nothing.
class Paths {
 public:
  explicit Paths(const ClusterConfig& config) : home_(config.home), root_(home_ + "/clusters/" + config.name) {}

  const std::string& home() const { return home_; }
  const std::string& root() const { return root_; }
  std::string images() const { return home_ + "/images"; }
  std::string lock() const { return root_ + "/lock"; }           // held, and its process named, while it runs
  std::string settings() const { return root_ + "/settings"; }
  std::string database() const { return root_ + "/store.db"; }
  std::string pki() const { return root_ + "/pki"; }
  std::string kubeconfig() const { return root_ + "/kubeconfig"; }
  std::string kubeconfig_users() const { return root_ + "/kubeconfig.users"; }  // files that have a copy, a line each
  std::string log() const { return root_ + "/skiff.log"; }
  std::string node_records() const { return root_ + "/nodes.list"; }
  std::string volumes() const { return root_ + "/volumes"; }
  std::string node(const std::string& name) const { return root_ + "/nodes/" + name; }

 private:
  std::string home_, root_;
};

/// A configuration with nothing left open, and the cluster's id: 6 hexadecimal digits that name what it puts on the
/// host (links, nft table, control groups).
struct Settings {
  ClusterConfig config;
  std::string id;
  std::string node_cidr;  // addresses of the nodes and of the host's ends towards them; "A,B" with two families

  std::string cgroup() const { return config.cgroup_root + "/" + id; }
  std::string node_name(int index) const {
    return index == 0 ? config.name : config.name + "-" + std::to_string(index + 1);
  }
  /// One a family, the main one first; what follows is in the same order.
  std::vector<net::ClusterRanges> ranges() const;
  std::vector<net::Cidr> node_pods(int index) const;                             // an IPv4 /24, an IPv6 /64
  std::vector<net::Address> service_addresses(std::uint32_t host_part) const;  // 1: the API's, 10: DNS'
  net::Address service_address(std::uint32_t host_part) const { return service_addresses(host_part).front(); }
  /// Of the balancers' addresses those that are answered in every node: the ingress' and the gateways'.
  std::vector<net::Cidr> answered() const;
  std::vector<net::Address> ingress_addresses() const;
};

/// Loads what an earlier start chose; a wish in `config` that differs is Invalid (a range cannot change under living
/// pods). NotFound: there is no such cluster.
Result<Settings> load_settings(const ClusterConfig& config);
/// Fills what `config` leaves open and saves it. Invalid: the name or a range is malformed, or a range collides with
/// the host's networks.
Result<Settings> choose_settings(const ClusterConfig& config, Random& random);
/// The first, or else the second.
Result<Settings> load_or_choose_settings(const ClusterConfig& config, Random& random);

/// Holds the cluster for this process. Unavailable: another one has it; the message names its pid.
Result<UniqueFd> lock_cluster(const Paths& paths);
/// The process that runs the cluster, or 0. One that was killed is waited for until it is gone (at most 5 s).
pid_t running_process(const Paths& paths);

}  // namespace skiff::cluster
