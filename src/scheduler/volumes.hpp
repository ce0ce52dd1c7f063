#pragma once
// What a pod's volumes say about where it may run (plugins volumebinding, volumezone, volumerestrictions and
// nodevolumelimits).

#include <map>
#include <set>
#include <string>
#include <vector>

#include "api/volumes.hpp"
#include "client/informer.hpp"
#include "scheduler/cluster_state.hpp"
#include "scheduler/explanation.hpp"

namespace skiff::scheduler {

/// Claims that were given a volume or a node a moment ago and do not show it yet. The scheduler's lock guards it.
struct VolumePromises {
  struct Promise {
    std::string node;
    std::string volume;  // empty: it will be made
    client::ObjectKey pod;
  };
  std::map<client::ObjectKey, Promise> claims;
  std::set<std::string> volumes() const;
};

/// What is to be written before a pod can be bound to its node.
struct VolumePlan {
  struct Binding {
    client::Ref<api::PersistentVolumeClaim> claim;
    client::Ref<api::PersistentVolume> volume;  // null: it is to be made
    std::int64_t written = 0;                   // the revision of the claim that asks for it
  };
  std::vector<Binding> bindings;
};

/// Everything about one pod's volumes at one moment.
class PodVolumes {
 public:
  struct Delayed {
    client::Ref<api::PersistentVolumeClaim> claim;
    client::Ref<api::StorageClass> one;
    const VolumePromises::Promise* promise = nullptr;
  };

  std::string refusal;        // why the pod fits nowhere, whatever nodes there are; "" when nothing of the kind
  bool volume_gone = false;   // a claim is bound to a volume that does not exist
  std::vector<client::Ref<api::PersistentVolume>> bound;
  std::vector<Delayed> delayed;                               // to be bound with the pod
  std::vector<client::Ref<api::PersistentVolume>> candidates; // for those
  std::set<std::string> taken;
  std::vector<client::ObjectKey> exclusive;                   // claims that only one pod may use
  std::set<std::string> full;                                 // nodes that take no more volumes of a driver

  /// Fills reasons, filter and hopeless of `verdict` when the node does not do.
  bool refuses(const NodeState& node, const ClusterState& cluster, NodeVerdict& verdict) const;
  /// For a node that does.
  VolumePlan plan(const api::Node& node) const;

 private:
  bool refuses_bound(const api::Node& node, NodeVerdict& verdict) const;
  bool refuses_zone(const api::Node& node, NodeVerdict& verdict) const;
  bool refuses_delayed(const api::Node& node, NodeVerdict& verdict) const;
  /// False when a claim finds nothing on the node.
  bool match(const api::Node& node, VolumePlan* plan) const;
};

/// The kinds that say what volumes there are. Any thread.
class VolumeCatalogue {
 public:
  explicit VolumeCatalogue(client::Informers& informers);

  PodVolumes volumes_of(const PodInfo& pod, const VolumePromises& promises, const ClusterState& cluster) const;

  client::Informer<api::PersistentVolumeClaim> claims;
  client::Informer<api::PersistentVolume> volumes;
  client::Informer<api::StorageClass> classes;
  client::Informer<api::CSINode> csi_nodes;

 private:
  void add_claim(const api::Pod& pod, const api::UsedClaim& used, const VolumePromises& promises,
                 PodVolumes& found) const;
  void find_full_nodes(const ClusterState& cluster, PodVolumes& found) const;
  bool is_full(const NodeState& node, const api::CSINodeDriver& driver, const PodVolumes& wanted) const;
  std::string problem_of(const api::Pod& pod, const api::UsedClaim& used, const api::PersistentVolumeClaim* claim) const;
};

}  // namespace skiff::scheduler
