#include "kubelet/claims.hpp"

#include <algorithm>

namespace skiff::kubelet {
namespace {

bool owned_by(const api::ObjectMeta& object, const api::Pod& pod) {
  return std::ranges::any_of(object.ownerReferences, [&](const api::OwnerReference& owner) {
    return owner.controller.value_or(false) && owner.uid == pod.metadata.uid;
  });
}

Result<client::Ref<api::PersistentVolumeClaim>> bound_claim(client::Client& client, const client::ObjectKey& key) {
  Result<client::Ref<api::PersistentVolumeClaim>> claim = client.get<api::PersistentVolumeClaim>(key);
  if (!claim.ok())
    return Error(claim.error().code(), "failed to fetch PVC from API server: " + claim.error().message());
  if (claim.value()->metadata.deletionTimestamp) return error(Code::Conflict, "PVC is being deleted");
  if (claim.value()->status.phase != "Bound") return error(Code::Conflict, "PVC is not bound");
  if (claim.value()->spec.volumeName.empty())
    return error(Code::Conflict, "PVC has empty pvc.Spec.VolumeName");
  return claim;
}

Result<client::Ref<api::PersistentVolume>> volume_of(client::Client& client,
                                                     const api::PersistentVolumeClaim& claim) {
  const std::string& name = claim.spec.volumeName;
  Result<client::Ref<api::PersistentVolume>> volume = client.get<api::PersistentVolume>({"", name});
  if (!volume.ok())
    return Error(volume.error().code(),
                 fmt::format("failed to fetch PV {} from API server: {}", name, volume.error().message()));
  const auto& reference = volume.value()->spec.claimRef;
  if (!reference)
    return error(Code::Conflict,
                 "found PV object {} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim",
                 name);
  if (reference->uid != claim.metadata.uid)
    return error(Code::Conflict,
                 "found PV object {} but its pv.Spec.ClaimRef.UID {} does not point to claim.UID {}", name,
                 reference->uid, claim.metadata.uid);
  return volume;
}

/// A raw device is listed in volumeDevices, a file system in volumeMounts.
Status check_mode(const api::Pod& pod, const api::Volume& volume, const std::string& mode) {
  auto mounts = [&](const api::Container& container) {
    return std::ranges::any_of(container.volumeMounts, [&](const auto& m) { return m.name == volume.name; });
  };
  auto maps = [&](const api::Container& container) {
    return std::ranges::any_of(container.volumeDevices, [&](const auto& d) { return d.name == volume.name; });
  };
  for (const auto* containers : {&pod.spec.initContainers, &pod.spec.containers}) {
    if (mode == "Block" && std::ranges::any_of(*containers, mounts))
      return error(Code::Invalid, "volume {} has volumeMode {}, but is specified in volumeMounts", volume.name, mode);
    if (mode != "Block" && std::ranges::any_of(*containers, maps))
      return error(Code::Invalid, "volume {} has volumeMode {}, but is specified in volumeDevices", volume.name, mode);
  }
  return ok();
}

}  // namespace

std::string claim_name(const api::Pod& pod, const api::Volume& volume) {
  if (volume.persistentVolumeClaim) return volume.persistentVolumeClaim->claimName;
  return volume.ephemeral ? pod.metadata.name + "-" + volume.name : "";
}

bool uses_claim(const api::Pod& pod, const client::ObjectKey& claim) {
  return pod.metadata.namespace_ == claim.namespace_ &&
         std::ranges::any_of(pod.spec.volumes,
                             [&](const api::Volume& volume) { return claim_name(pod, volume) == claim.name; });
}

Result<client::Ref<api::PersistentVolume>> find_volume(client::Client& client, const api::Pod& pod,
                                                       const api::Volume& volume) {
  client::ObjectKey key{pod.metadata.namespace_, claim_name(pod, volume)};
  Result<client::Ref<api::PersistentVolumeClaim>> claim = bound_claim(client, key);
  if (!claim.ok()) return std::move(claim).error().in("error processing PVC " + key.str());
  if (volume.ephemeral && !owned_by(claim.value()->metadata, pod))
    return error(Code::Conflict, "PVC {} was not created for pod {}/{} (pod is not owner)", key.str(),
                 pod.metadata.namespace_, pod.metadata.name);
  Result<client::Ref<api::PersistentVolume>> found = volume_of(client, *claim.value());
  if (!found.ok()) return std::move(found).error().in("error processing PVC " + key.str());
  TRY(check_mode(pod, volume, found.value()->spec.volumeMode));
  return found;
}

}  // namespace skiff::kubelet
