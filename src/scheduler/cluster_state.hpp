#pragma once
// Nodes with what runs on them, as the scheduler counts it: the informers' view plus the pods it placed a
// moment ago.

#include <map>
#include <string>
#include <vector>

#include "api/gen/nodes.hpp"
#include "scheduler/pod_info.hpp"

namespace skiff::scheduler {

/// A node and the sums over its pods. The node itself may be missing while pods are already known.
struct NodeState {
  client::Ref<api::Node> node;
  Resources allocatable;
  std::int64_t max_pods = 0;
  Resources requested, scored;
  std::map<client::ObjectKey, PodInfoRef> pods;
};

/// Not thread-safe: the scheduler's lock guards it.
class ClusterState {
 public:
  void set_node(const client::Ref<api::Node>& node);
  void remove_node(const std::string& name);
  /// Counts `pod` on the node its spec names, or on `node` when it was only decided a moment ago. Replaces
  /// what was known under its key.
  void set_pod(const PodInfoRef& pod, const std::string& node);
  void remove_pod(const client::ObjectKey& key);
  /// The node `key` is counted on, or "".
  std::string node_of(const client::ObjectKey& key) const;
  bool is_counted(const client::ObjectKey& key) const { return placed_.contains(key); }

  /// Nodes that exist, by name.
  std::vector<const NodeState*> nodes() const;
  /// Whether any counted pod has required anti-affinity: without one nobody needs to look at all pods.
  bool has_anti_affinity() const { return with_anti_affinity_ > 0; }

 private:
  void drop_if_empty(const std::string& name);

  std::map<std::string, NodeState> nodes_;
  std::map<client::ObjectKey, std::string> placed_;
  int with_anti_affinity_ = 0;
};

}  // namespace skiff::scheduler
