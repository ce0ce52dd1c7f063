#pragma once
// Nodes with what runs on them, as the scheduler counts it: the informers' view plus the pods it placed a
// moment ago.

#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "api/gen/nodes.hpp"
#include "scheduler/pod_info.hpp"

namespace skiff::scheduler {

struct NodeState;

/// Pods that are alike to other pods (namespace, labels, wishes about neighbours), with where they are. Rules about
/// neighbours look at groups: a Deployment of a thousand pods is one.
struct PodGroup {
  PodInfoRef example;
  bool terminating = false;
  std::unordered_map<const NodeState*, int> nodes;  // how many on each; the Node itself may be missing
};

/// In which domain of a topology key (a node label) each node is: domains have numbers from 0 on.
struct Domains {
  static constexpr int kNone = -1;  // the node has no such label
  std::vector<int> of;              // by NodeState::ordinal
  int count = 0;
};

/// A node and the sums over its pods. The node itself may be missing while pods are already known.
struct NodeState {
  client::Ref<api::Node> node;
  size_t ordinal = 0;  // its place among those that exist
  Resources allocatable;
  std::int64_t max_pods = 0;
  Resources requested, scored;
  std::map<client::ObjectKey, PodInfoRef> pods;
  std::map<std::string, int> owners;                    // pods by the UID of their controller
  std::unordered_map<std::string, std::int64_t> images;  // bytes, by name
};

/// Not thread-safe: the scheduler's lock guards it.
class ClusterState {
 public:
  ClusterState() = default;
  ClusterState(const ClusterState&) = delete;  // groups point into it
  ClusterState& operator=(const ClusterState&) = delete;

  void set_node(const client::Ref<api::Node>& node);
  void remove_node(const std::string& name);
  void set_namespace(const std::string& name, const api::Labels& labels) { namespaces_[name] = labels; }
  void remove_namespace(const std::string& name) { namespaces_.erase(name); }
  /// Counts `pod` on the node its spec names, or on `node` when it was only decided a moment ago. Replaces
  /// what was known under its key.
  void set_pod(const PodInfoRef& pod, const std::string& node);
  void remove_pod(const client::ObjectKey& key);
  /// The node `key` is counted on, or "".
  std::string node_of(const client::ObjectKey& key) const;
  bool is_counted(const client::ObjectKey& key) const { return placed_.contains(key); }

  /// Nodes that exist, by name. Valid until a node comes or goes.
  const std::vector<const NodeState*>& nodes() const { return existing_; }
  const NodeState* find(const std::string& name) const;  // null: no such node
  const std::vector<std::unique_ptr<PodGroup>>& groups() const { return groups_; }
  const NamespaceLabels& namespaces() const { return namespaces_; }
  /// Valid until a node comes, goes or changes its labels.
  const Domains& domains(const std::string& topology_key) const;
  /// Whether a counted pod uses the claim.
  bool in_use(const client::ObjectKey& claim) const { return claims_.contains(claim); }
  /// How many nodes have the image.
  int nodes_with_image(const std::string& name) const;

 private:
  struct Place {
    NodeState* node;
    std::string name;
    PodGroup* group;
  };
  void drop_if_empty(const std::string& name);
  void list_existing();
  void count_images(const NodeState& node, int by);
  PodGroup& group_of(const PodInfoRef& pod);
  void leave_group(PodGroup& group, const NodeState& node);

  std::map<std::string, NodeState> nodes_;  // never moves its values
  std::vector<const NodeState*> existing_;
  std::map<client::ObjectKey, Place> placed_;
  std::vector<std::unique_ptr<PodGroup>> groups_;
  std::unordered_multimap<std::string, PodGroup*> groups_by_key_;
  std::multiset<client::ObjectKey> claims_;
  std::unordered_map<std::string, int> images_;
  NamespaceLabels namespaces_;
  mutable std::unordered_map<std::string, Domains> domains_;  // made when they are asked for
};

}  // namespace skiff::scheduler
