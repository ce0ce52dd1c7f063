#pragma once
// Which PersistentVolume suits which claim and which node (k8s.io/component-helpers/storage/volume). The binder, the
// scheduler and admission ask alike.

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/storage.hpp"
#include "api/gen/volume.hpp"
#include "api/pods.hpp"

namespace skiff::api {

inline constexpr char kBindCompleted[] = "pv.kubernetes.io/bind-completed";
inline constexpr char kBoundByController[] = "pv.kubernetes.io/bound-by-controller";
inline constexpr char kSelectedNode[] = "volume.kubernetes.io/selected-node";
inline constexpr char kProvisionedBy[] = "pv.kubernetes.io/provisioned-by";
inline constexpr char kNoProvisioner[] = "kubernetes.io/no-provisioner";

/// The class by annotation (of old) or field; "" without one.
std::string class_of(const PersistentVolumeClaim& claim);
std::string class_of(const PersistentVolume& volume);
bool is_default(const StorageClass& one);
bool waits_for_consumer(const StorageClass& one);

Quantity requested_storage(const PersistentVolumeClaim& claim);
Quantity storage_capacity(const ResourceList& amounts);

/// Whether the volume's claimRef names the claim; one without a UID was written by a person.
bool is_bound_to(const PersistentVolume& volume, const PersistentVolumeClaim& claim);
bool offers_modes(const PersistentVolume& volume, const PersistentVolumeClaim& claim);
bool same_volume_mode(const PersistentVolume& volume, const PersistentVolumeClaim& claim);
/// Required node affinity of the volume.
bool reachable_from(const PersistentVolume& volume, const Node& node);

/// Whether a StorageClass would make volumes for this node (allowedTopologies).
bool allows_node(const StorageClass& one, const Node& node);

/// What a match is asked for.
struct VolumeWish {
  const PersistentVolumeClaim& claim;
  const Node* node = nullptr;                          // the scheduler's question: reachable from there
  bool delayed = false;                                // without a node: only a volume that is bound already will do
  const std::set<std::string>* excluded = nullptr;     // names that are spoken for
};

/// The volume that is bound to the claim already, else the smallest one that suits; null when there is none.
std::shared_ptr<const PersistentVolume> best_volume(const VolumeWish& wish,
                                                    const std::vector<std::shared_ptr<const PersistentVolume>>& all);

/// A claim that a pod uses: the claim's name, and whether it is the pod's own (ephemeral).
struct UsedClaim {
  std::string name;
  const Volume* volume;
  bool ephemeral() const { return static_cast<bool>(volume->ephemeral); }
};
std::vector<UsedClaim> used_claims(const Pod& pod);

}  // namespace skiff::api
