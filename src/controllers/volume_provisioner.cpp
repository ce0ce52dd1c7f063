#include "controllers/volume_provisioner.hpp"

#include <fmt/ranges.h>

#include <algorithm>

namespace skiff::controllers {
namespace {

using api::PersistentVolume;
using api::PersistentVolumeClaim;
using client::Ref;

// Why the directory provisioner cannot make what is asked for; "" when it can.
std::string refusal(const PersistentVolumeClaim& claim, const api::StorageClass& one) {
  if (claim.spec.volumeMode == "Block")
    return fmt::format("{} does not support block volume provisioning", one.provisioner);
  if (!one.mountOptions.empty())
    return fmt::format("Mount options are not supported by the provisioner but StorageClass \"{}\" has mount options [{}]",
                       one.metadata.name, fmt::join(one.mountOptions, " "));
  if (claim.spec.selector) return "claim Selector is not supported";
  if (claim.spec.dataSource || claim.spec.dataSourceRef)
    return fmt::format("plugin \"{}\" is not a CSI plugin. Only CSI plugin can provision a claim with a datasource",
                       one.provisioner);
  return "";
}

// Where the class allows volumes is where they may be used.
api::VolumeNodeAffinity affinity_from(const api::StorageClass& one) {
  api::VolumeNodeAffinity affinity;
  auto& terms = affinity.required.emplace().nodeSelectorTerms;
  for (const api::TopologySelectorTerm& allowed : one.allowedTopologies) {
    api::NodeSelectorTerm& term = terms.emplace_back();
    for (const auto& expression : allowed.matchLabelExpressions) {
      api::NodeSelectorRequirement& requirement = term.matchExpressions.emplace_back();
      requirement.key = expression.key;
      requirement.operator_ = "In";
      requirement.values = expression.values;
    }
  }
  return affinity;
}

PersistentVolume volume_for(const PersistentVolumeClaim& claim, const api::StorageClass& one, const std::string& path) {
  PersistentVolume volume;
  volume.metadata.name = "pvc-" + claim.metadata.uid;
  volume.metadata.annotations = {{api::kBoundByController, "yes"}, {api::kProvisionedBy, one.provisioner}};
  if (one.reclaimPolicy != "Retain") volume.metadata.finalizers = {kDeletionFinalizer};
  api::PersistentVolumeSpec& spec = volume.spec;
  spec.capacity["storage"] = api::requested_storage(claim);
  spec.accessModes = claim.spec.accessModes;
  spec.persistentVolumeReclaimPolicy = one.reclaimPolicy.empty() ? "Delete" : one.reclaimPolicy;
  spec.storageClassName = one.metadata.name;
  spec.volumeMode = "Filesystem";
  api::HostPathVolumeSource& host = spec.hostPath.emplace();
  host.path = path;
  host.type = "DirectoryOrCreate";
  if (!one.allowedTopologies.empty()) spec.nodeAffinity = affinity_from(one);
  spec.claimRef = client::reference_to(std::make_shared<const PersistentVolumeClaim>(claim));
  return volume;
}

}  // namespace

Result<Ref<PersistentVolumeClaim>> VolumeProvisioner::name_provisioner(const Ref<PersistentVolumeClaim>& claim,
                                                                       const std::string& provisioner) {
  PersistentVolumeClaim next = *claim;
  next.metadata.annotations["volume.kubernetes.io/storage-provisioner"] = provisioner;
  next.metadata.annotations["volume.beta.kubernetes.io/storage-provisioner"] = provisioner;
  if (next.metadata.annotations == claim->metadata.annotations) return claim;
  return client_.update_with_retry<PersistentVolumeClaim>(client::key_of(*claim), [&](PersistentVolumeClaim& live) {
    if (live.metadata.uid != claim->metadata.uid) return false;
    for (const char* key : {"volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"})
      live.metadata.annotations[key] = provisioner;
    return true;
  });
}

Status VolumeProvisioner::provision(const Ref<PersistentVolumeClaim>& claim, const Ref<api::StorageClass>& one) {
  if (!one)
    return give_up(claim, fmt::format("storageclass.storage.k8s.io \"{}\" not found", api::class_of(*claim)));
  const std::string& provisioner = one->provisioner;
  if (provisioner.starts_with("kubernetes.io/"))
    return give_up(claim, fmt::format("no volume plugin matched name: {}", provisioner));
  TRY_ASSIGN(Ref<PersistentVolumeClaim> named, name_provisioner(claim, provisioner));
  if (is_ours(provisioner)) return make(named, *one);
  events_.normal(client::reference_to(named), "ExternalProvisioning",
                 fmt::format("Waiting for a volume to be created either by the external provisioner '{}' or manually by "
                             "the system administrator. If volume creation is delayed, please verify that the "
                             "provisioner is running and correctly registered.", provisioner));
  return ok();
}

// The scheduler is to look again: another node may do.
Status VolumeProvisioner::give_up(const Ref<PersistentVolumeClaim>& claim, const std::string& why) {
  events_.warning(client::reference_to(claim), "ProvisioningFailed", why);
  auto written = client_.update_with_retry<PersistentVolumeClaim>(client::key_of(*claim), [](PersistentVolumeClaim& next) {
    return next.metadata.annotations.erase(api::kSelectedNode) > 0;
  });
  return written.ok() || written.error().code() == Code::NotFound ? ok() : Status(written.error());
}

Status VolumeProvisioner::make(const Ref<PersistentVolumeClaim>& claim, const api::StorageClass& one) {
  if (std::string why = refusal(*claim, one); !why.empty())
    return give_up(claim, fmt::format("Failed to provision volume with StorageClass \"{}\": {}", one.metadata.name, why));
  const std::string name = "pvc-" + claim->metadata.uid;
  Result<std::string> path = directories_->make(name);
  if (!path.ok())
    return give_up(claim, fmt::format("Failed to provision volume with StorageClass \"{}\": {}", one.metadata.name,
                                      path.error().message()));
  Result<Ref<PersistentVolume>> made = client_.create(volume_for(*claim, one, path.value()));
  if (!made.ok() && made.error().code() == Code::AlreadyExists) return ok();
  TRY(made);
  events_.normal(client::reference_to(claim), "ProvisioningSucceeded",
                 fmt::format("Successfully provisioned volume {} using {}", name, one.provisioner));
  return ok();
}

Reclaimed VolumeProvisioner::reclaim(const Ref<PersistentVolume>& volume) {
  const std::string& policy = volume->spec.persistentVolumeReclaimPolicy;
  if (policy == "Retain" || policy.empty()) return {Reclaimed::What::Kept, "", ""};
  if (policy == "Recycle") return empty(*volume);
  if (policy == "Delete") return remove(*volume);
  return {Reclaimed::What::Failed, "VolumeUnknownReclaimPolicy", "Volume has an unrecognized reclaim policy"};
}

Reclaimed VolumeProvisioner::empty(const PersistentVolume& volume) {
  if (!volume.spec.hostPath || !directories_)
    return {Reclaimed::What::Failed, "VolumeFailedRecycle", "No recycler plugin found for the volume!"};
  Status emptied = directories_->empty(volume.spec.hostPath->path);
  if (emptied.ok()) return {Reclaimed::What::Emptied, "", ""};
  return {Reclaimed::What::Failed, "VolumeFailedRecycle", "Recycle failed: " + emptied.error().message()};
}

Reclaimed VolumeProvisioner::remove(const PersistentVolume& volume) {
  auto by = volume.metadata.annotations.find(api::kProvisionedBy);
  bool made = by != volume.metadata.annotations.end();
  if (made && !is_ours(by->second)) return {Reclaimed::What::Kept, "", ""};  // its provisioner deletes it
  if (!volume.spec.hostPath || !directories_) {
    if (volume.spec.csi) return {Reclaimed::What::Kept, "", ""};
    return {Reclaimed::What::Failed, "VolumeFailedDelete",
            fmt::format("error getting deleter volume plugin for volume \"{}\": no deletable volume plugin matched",
                        volume.metadata.name)};
  }
  const std::string& path = volume.spec.hostPath->path;
  Status removed = directories_->remove(path);
  if (removed.ok()) return {Reclaimed::What::Removed, "", ""};
  if (removed.error().code() == Code::Forbidden)
    return {Reclaimed::What::Failed, "VolumeFailedDelete",
            fmt::format("host_path deleter only supports /tmp/.+ but received provided {}", path)};
  return {Reclaimed::What::Failed, "VolumeFailedDelete", removed.error().message()};
}

}  // namespace skiff::controllers
