#include "apiserver/node_relations.hpp"

#include <algorithm>
#include <functional>

#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/storage.hpp"
#include "api/gen/volume.hpp"

namespace skiff::apiserver {

using client::ObjectKey;
using client::Ref;

namespace {

constexpr char kMirror[] = "kubernetes.io/config.mirror";

template <class C>
bool container_names(const C& container, bool secrets, const std::string& name) {
  for (const api::EnvFromSource& source : container.envFrom) {
    if (secrets ? source.secretRef && source.secretRef->name == name
                : source.configMapRef && source.configMapRef->name == name)
      return true;
  }
  return std::ranges::any_of(container.env, [&](const api::EnvVar& variable) {
    if (!variable.valueFrom) return false;
    const auto& from = *variable.valueFrom;
    return secrets ? from.secretKeyRef && from.secretKeyRef->name == name
                   : from.configMapKeyRef && from.configMapKeyRef->name == name;
  });
}

bool containers_name(const api::PodSpec& spec, bool secrets, const std::string& name) {
  auto any = [&](const auto& containers) {
    return std::ranges::any_of(containers, [&](const auto& one) { return container_names(one, secrets, name); });
  };
  return any(spec.containers) || any(spec.initContainers) || any(spec.ephemeralContainers);
}

bool projected_names(const api::Volume& volume, bool secrets, const std::string& name) {
  if (!volume.projected) return false;
  return std::ranges::any_of(volume.projected->sources, [&](const api::VolumeProjection& source) {
    return secrets ? source.secret && source.secret->name == name : source.configMap && source.configMap->name == name;
  });
}

bool volume_names_secret(const api::Volume& volume, const std::string& name) {
  auto by_reference = [&](const auto& source) { return source && source->secretRef && source->secretRef->name == name; };
  return (volume.secret && volume.secret->secretName == name) ||
         (volume.azureFile && volume.azureFile->secretName == name) ||
         (volume.csi && volume.csi->nodePublishSecretRef && volume.csi->nodePublishSecretRef->name == name) ||
         by_reference(volume.cephfs) || by_reference(volume.cinder) || by_reference(volume.flexVolume) ||
         by_reference(volume.iscsi) || by_reference(volume.rbd) || by_reference(volume.storageos) ||
         (volume.scaleIO && volume.scaleIO->secretRef.name == name) || projected_names(volume, true, name);
}

bool pod_names_secret(const api::PodSpec& spec, const std::string& name) {
  return std::ranges::any_of(spec.imagePullSecrets, [&](const auto& one) { return one.name == name; }) ||
         containers_name(spec, true, name) ||
         std::ranges::any_of(spec.volumes, [&](const auto& one) { return volume_names_secret(one, name); });
}

bool pod_names_config_map(const api::PodSpec& spec, const std::string& name) {
  return containers_name(spec, false, name) || std::ranges::any_of(spec.volumes, [&](const api::Volume& volume) {
           return (volume.configMap && volume.configMap->name == name) || projected_names(volume, false, name);
         });
}

bool pod_names_claim(const api::Pod& pod, const std::string& name) {
  return std::ranges::any_of(pod.spec.volumes, [&](const api::Volume& volume) {
    return (volume.persistentVolumeClaim && volume.persistentVolumeClaim->claimName == name) ||
           (volume.ephemeral && pod.metadata.name + "-" + volume.name == name);
  });
}

bool pod_names_resource_claim(const api::Pod& pod, const std::string& name) {
  return std::ranges::any_of(pod.status.resourceClaimStatuses,
                             [&](const auto& one) { return one.resourceClaimName == name; }) ||
         std::ranges::any_of(pod.spec.resourceClaims, [&](const auto& one) { return one.resourceClaimName == name; });
}

bool any_pod(client::Client& cluster, const std::string& node, const std::string& namespace_,
             const std::function<bool(const api::Pod&)>& wanted) {
  Result<std::vector<Ref<api::Pod>>> pods = cluster.list<api::Pod>({.namespace_ = namespace_});
  if (!pods.ok()) return false;
  return std::ranges::any_of(pods.value(), [&](const Ref<api::Pod>& pod) {
    return pod->spec.nodeName == node && !pod->metadata.annotations.contains(kMirror) && wanted(*pod);
  });
}

bool needs_claim(client::Client& cluster, const std::string& node, const ObjectKey& key) {
  return any_pod(cluster, node, key.namespace_, [&](const api::Pod& pod) { return pod_names_claim(pod, key.name); });
}

bool volume_is_used(client::Client& cluster, const std::string& node, const api::PersistentVolume& volume) {
  const auto& claim = volume.spec.claimRef;
  return claim && needs_claim(cluster, node, {claim->namespace_, claim->name});
}

bool needs_volume(client::Client& cluster, const std::string& node, const std::string& name) {
  Result<Ref<api::PersistentVolume>> volume = cluster.get<api::PersistentVolume>({"", name});
  return volume.ok() && volume_is_used(cluster, node, *volume.value());
}

bool volume_names_secret(const api::PersistentVolume& volume, const ObjectKey& key) {
  const std::string home = volume.spec.claimRef ? volume.spec.claimRef->namespace_ : "";
  auto is = [&](const auto& ref) {
    return ref && ref->name == key.name && (ref->namespace_.empty() ? home : ref->namespace_) == key.namespace_;
  };
  auto by_reference = [&](const auto& source) { return source && is(source->secretRef); };
  const auto& spec = volume.spec;
  return (spec.csi && (is(spec.csi->nodePublishSecretRef) || is(spec.csi->nodeStageSecretRef) ||
                       is(spec.csi->controllerPublishSecretRef) || is(spec.csi->nodeExpandSecretRef))) ||
         (spec.azureFile && spec.azureFile->secretName == key.name) || by_reference(spec.cephfs) ||
         by_reference(spec.cinder) || by_reference(spec.flexVolume) || by_reference(spec.iscsi) ||
         by_reference(spec.rbd) || by_reference(spec.storageos);
}

bool needs_secret(client::Client& cluster, const std::string& node, const ObjectKey& key) {
  if (any_pod(cluster, node, key.namespace_,
              [&](const api::Pod& pod) { return pod_names_secret(pod.spec, key.name); }))
    return true;
  Result<std::vector<Ref<api::PersistentVolume>>> volumes = cluster.list<api::PersistentVolume>();
  return volumes.ok() && std::ranges::any_of(volumes.value(), [&](const auto& volume) {
           return volume_names_secret(*volume, key) && volume_is_used(cluster, node, *volume);
         });
}

}  // namespace

bool node_needs(client::Client& cluster, const std::string& node, std::string_view resource, const ObjectKey& key) {
  auto any = [&](const std::function<bool(const api::Pod&)>& wanted) {
    return any_pod(cluster, node, key.namespace_, wanted);
  };
  if (resource == "secrets") return needs_secret(cluster, node, key);
  if (resource == "configmaps")
    return any([&](const api::Pod& pod) { return pod_names_config_map(pod.spec, key.name); });
  if (resource == "persistentvolumeclaims") return needs_claim(cluster, node, key);
  if (resource == "persistentvolumes") return needs_volume(cluster, node, key.name);
  if (resource == "serviceaccounts")
    return any([&](const api::Pod& pod) { return pod.spec.serviceAccountName == key.name; });
  if (resource == "resourceclaims")
    return any([&](const api::Pod& pod) { return pod_names_resource_claim(pod, key.name); });
  if (resource == "pods") {
    Result<Ref<api::Pod>> pod = cluster.get<api::Pod>(key);
    return pod.ok() && pod.value()->spec.nodeName == node;
  }
  if (resource == "volumeattachments") {
    Result<Ref<api::VolumeAttachment>> attachment = cluster.get<api::VolumeAttachment>({"", key.name});
    return attachment.ok() && attachment.value()->spec.nodeName == node;
  }
  return false;
}

}  // namespace skiff::apiserver
