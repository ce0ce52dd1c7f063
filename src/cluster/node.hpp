#pragma once
// One node: its namespaces, its network and its kubelet.

#include <map>
#include <memory>
#include <string>

#include "base/random.hpp"
#include "client/client.hpp"
#include "client/node_access.hpp"
#include "cluster/node_records.hpp"
#include "cluster/state.hpp"
#include "image/content_store.hpp"
#include "image/registry_config.hpp"
#include "net/host_network.hpp"
#include "sys/cgroup.hpp"

namespace skiff::cluster {

class ClusterNetwork;

/// The kubelets of this process by node name. Any thread.
class KubeletDirectory {
 public:
  void add(const std::string& node, std::shared_ptr<client::NodeAccess> kubelet);
  void remove(const std::string& node);
  std::shared_ptr<client::NodeAccess> find(const std::string& node) const;

 private:
  mutable Mutex mutex_;
  std::map<std::string, std::shared_ptr<client::NodeAccess>> kubelets_ GUARDED_BY(mutex_);
};

/// What a node is built from; all of it outlives the node.
struct NodeSurroundings {
  const Settings& settings;
  Clock& clock;
  Random& random;
  sys::CgroupTree& cgroups;
  image::ContentStore& images;
  const image::RegistryConfig& registries;
  net::HostNetwork& host;
  client::Client& client;
  KubeletDirectory& kubelets;
  ClusterNetwork& network;
};

class NodeParts {
 public:
  /// Connects to the node if it still runs from an earlier life of skiff, else starts it; joins it to the host's
  /// network.
  static Result<std::unique_ptr<NodeParts>> create(const NodeSurroundings& around, const NodeRecord& record);
  ~NodeParts();

  const UniqueFd& network() const;
  const UniqueFd& process() const;  // see runtime::Node
  const std::vector<net::Address>& addresses() const;  // one a family, the main one first
  const std::string& name() const;

  /// Starts the kubelet: the Node is Ready when this returns.
  Status start();
  /// Stops the kubelet; the node and its pods run on.
  void stop();
  /// Ends the node with all its pods.
  Status power_off();

 private:
  struct Parts;
  explicit NodeParts(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

/// Ends what a cluster that no process runs still has on the host: nodes, links, routes, rules, control groups.
Status remove_traces(const Settings& settings);

}  // namespace skiff::cluster
