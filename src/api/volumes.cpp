#include "api/volumes.hpp"

#include <algorithm>
#include <tuple>

#include "api/nodes.hpp"
#include "api/selector.hpp"

namespace skiff::api {
namespace {

constexpr char kClassAnnotation[] = "volume.beta.kubernetes.io/storage-class";

bool marked(const StorageClass& one, const char* annotation) {
  auto mark = one.metadata.annotations.find(annotation);
  return mark != one.metadata.annotations.end() && mark->second == "true";
}

// What must hold of a volume before it is compared with others.
bool eligible(const PersistentVolume& volume, const VolumeWish& wish) {
  if (wish.excluded && wish.excluded->contains(volume.metadata.name)) return false;
  if (volume.spec.claimRef && !is_bound_to(volume, wish.claim)) return false;
  if (storage_capacity(volume.spec.capacity) < requested_storage(wish.claim)) return false;
  if (!same_volume_mode(volume, wish.claim) || volume.metadata.deletionTimestamp) return false;
  return offers_modes(volume, wish.claim);
}

bool suits(const PersistentVolume& volume, const VolumeWish& wish, const Selector& selector) {
  return volume.status.phase == "Available" && selector.matches(volume.metadata.labels) &&
         class_of(volume) == class_of(wish.claim) && (!wish.node || reachable_from(volume, *wish.node));
}

Selector selector_of(const PersistentVolumeClaim& claim) {
  if (!claim.spec.selector) return Selector();
  Result<Selector> parsed = Selector::from(*claim.spec.selector);
  return parsed.ok() ? std::move(parsed).value() : Selector::nothing();
}

}  // namespace

std::string class_of(const PersistentVolumeClaim& claim) {
  auto annotated = claim.metadata.annotations.find(kClassAnnotation);
  return annotated != claim.metadata.annotations.end() ? annotated->second : claim.spec.storageClassName.value_or("");
}

std::string class_of(const PersistentVolume& volume) {
  auto annotated = volume.metadata.annotations.find(kClassAnnotation);
  return annotated != volume.metadata.annotations.end() ? annotated->second : volume.spec.storageClassName;
}

bool is_default(const StorageClass& one) {
  return marked(one, "storageclass.kubernetes.io/is-default-class") ||
         marked(one, "storageclass.beta.kubernetes.io/is-default-class");
}

bool waits_for_consumer(const StorageClass& one) { return one.volumeBindingMode == "WaitForFirstConsumer"; }

Quantity storage_capacity(const ResourceList& amounts) {
  auto storage = amounts.find("storage");
  return storage == amounts.end() ? Quantity() : storage->second;
}

Quantity requested_storage(const PersistentVolumeClaim& claim) { return storage_capacity(claim.spec.resources.requests); }

bool is_bound_to(const PersistentVolume& volume, const PersistentVolumeClaim& claim) {
  if (!volume.spec.claimRef) return false;
  const ObjectReference& ref = *volume.spec.claimRef;
  return ref.name == claim.metadata.name && ref.namespace_ == claim.metadata.namespace_ &&
         (ref.uid.empty() || ref.uid == claim.metadata.uid);
}

bool offers_modes(const PersistentVolume& volume, const PersistentVolumeClaim& claim) {
  const auto& offered = volume.spec.accessModes;
  return std::all_of(claim.spec.accessModes.begin(), claim.spec.accessModes.end(), [&](const std::string& mode) {
    return std::find(offered.begin(), offered.end(), mode) != offered.end();
  });
}

bool same_volume_mode(const PersistentVolume& volume, const PersistentVolumeClaim& claim) {
  auto mode = [](const std::string& text) { return text.empty() ? std::string("Filesystem") : text; };
  return mode(volume.spec.volumeMode) == mode(claim.spec.volumeMode);
}

bool reachable_from(const PersistentVolume& volume, const Node& node) {
  if (!volume.spec.nodeAffinity || !volume.spec.nodeAffinity->required) return true;
  const auto& terms = volume.spec.nodeAffinity->required->nodeSelectorTerms;
  return std::any_of(terms.begin(), terms.end(), [&](const NodeSelectorTerm& term) { return matches_term(term, node); });
}

bool allows_node(const StorageClass& one, const Node& node) {
  auto matches = [&](const TopologySelectorLabelRequirement& requirement) {
    auto label = node.metadata.labels.find(requirement.key);
    return label != node.metadata.labels.end() &&
           std::find(requirement.values.begin(), requirement.values.end(), label->second) != requirement.values.end();
  };
  return one.allowedTopologies.empty() ||
         std::any_of(one.allowedTopologies.begin(), one.allowedTopologies.end(), [&](const TopologySelectorTerm& term) {
           return std::all_of(term.matchLabelExpressions.begin(), term.matchLabelExpressions.end(), matches);
         });
}

std::shared_ptr<const PersistentVolume> best_volume(const VolumeWish& wish,
                                                    const std::vector<std::shared_ptr<const PersistentVolume>>& all) {
  const Selector selector = selector_of(wish.claim);
  std::shared_ptr<const PersistentVolume> best;
  auto rank = [](const PersistentVolume& volume) {
    return std::tuple(volume.spec.accessModes.size(), storage_capacity(volume.spec.capacity), volume.metadata.name);
  };
  for (const auto& volume : all) {
    if (!eligible(*volume, wish)) continue;
    if (is_bound_to(*volume, wish.claim)) {
      if (wish.node && !reachable_from(*volume, *wish.node)) return nullptr;
      return volume;
    }
    if (!wish.node && wish.delayed) continue;  // the scheduler will say which
    if (suits(*volume, wish, selector) && (!best || rank(*volume) < rank(*best))) best = volume;
  }
  return best;
}

std::vector<UsedClaim> used_claims(const Pod& pod) {
  std::vector<UsedClaim> claims;
  for (const Volume& volume : pod.spec.volumes) {
    if (volume.persistentVolumeClaim) claims.push_back({volume.persistentVolumeClaim->claimName, &volume});
    if (volume.ephemeral) claims.push_back({pod.metadata.name + "-" + volume.name, &volume});
  }
  return claims;
}

}  // namespace skiff::api
