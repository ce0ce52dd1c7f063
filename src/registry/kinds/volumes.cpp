#include "registry/kinds/volumes.hpp"

#include <algorithm>
#include <set>

namespace skiff::registry {
namespace {

using api::quote;
using api::Volume;

constexpr char kMoreThanOne[] = "may not specify more than 1 volume type";

template <class T>
void check_mode(const std::optional<T>& mode, const Path& path, FieldErrors& errors) {
  if (mode && (*mode < 0 || *mode > 0777))
    errors.invalid(path, std::to_string(*mode), "must be a number between 0 and 0777 (octal), both inclusive");
}

void check_partition(int partition, const Path& path, FieldErrors& errors) {
  if (partition < 0 || partition > 255)
    errors.invalid(path, std::to_string(partition), "must be between 1 and 255, inclusive");
}

void check_file_path(const std::string& file, const Path& path, FieldErrors& errors) {
  check_descending_path(file, path, errors);
  if (file.starts_with("..") && !file.starts_with("../") && file != "..")
    errors.invalid(path, quote(file), "must not start with '..'");
}

void check_item(const api::KeyToPath& item, const Path& path, FieldErrors& errors) {
  require(item.key, path.child("key"), errors);
  require(item.path, path.child("path"), errors);
  check_file_path(item.path, path.child("path"), errors);
  check_mode(item.mode, path.child("mode"), errors);
}
void check_items(const std::vector<api::KeyToPath>& items, const Path& path, FieldErrors& errors) {
  for (size_t i = 0; i < items.size(); ++i) check_item(items[i], path.child("items", i), errors);
}

void check_downward_file(const api::DownwardAPIVolumeFile& file, const Path& path, FieldErrors& errors) {
  require(file.path, path.child("path"), errors);
  check_file_path(file.path, path.child("path"), errors);
  if (file.fieldRef) {
    check_field_ref(*file.fieldRef,
                    {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"},
                    path.child("fieldRef"), errors);
    if (file.resourceFieldRef)
      errors.invalid(path, "\"resource\"", "fieldRef and resourceFieldRef can not be specified simultaneously");
  } else if (file.resourceFieldRef) {
    check_resource_field_ref(*file.resourceFieldRef, true, path.child("resourceFieldRef"), errors);
  } else {
    errors.required(path, "one of fieldRef and resourceFieldRef is required");
  }
  check_mode(file.mode, path.child("mode"), errors);
}

void check_token(const api::ServiceAccountTokenProjection& token, const Path& path, FieldErrors& errors) {
  std::int64_t seconds = token.expirationSeconds.value_or(3600);
  if (seconds < 600)
    errors.invalid(path.child("expirationSeconds"), std::to_string(seconds),
                   "may not specify a duration less than 10 minutes");
  if (seconds > std::int64_t{1} << 32)
    errors.invalid(path.child("expirationSeconds"), std::to_string(seconds),
                   "may not specify a duration larger than 2^32 seconds");
  if (require(token.path, path.child("path"), errors)) check_file_path(token.path, path.child("path"), errors);
}

void check_trust_bundle(const api::ClusterTrustBundleProjection& bundle, const Path& path, FieldErrors& errors) {
  if (!bundle.name.empty() && !bundle.signerName.empty())
    errors.invalid(path, quote(bundle.name), "only one of name and signerName may be used");
  if (bundle.name.empty() && bundle.signerName.empty()) errors.required(path, "one of name and signerName is required");
  if (!bundle.name.empty() && bundle.labelSelector)
    errors.invalid(path.child("labelSelector"), json_of(*bundle.labelSelector),
                   "only valid when signerName is used");
  if (bundle.labelSelector) check_label_selector(*bundle.labelSelector, path.child("labelSelector"), errors);
  if (require(bundle.path, path.child("path"), errors)) check_file_path(bundle.path, path.child("path"), errors);
}

// The files of all sources share one directory: each path is used once.
class ProjectedPaths {
 public:
  ProjectedPaths(const Path& path, FieldErrors& errors) : path_(path), errors_(errors) {}
  void add(std::string_view file, std::string_view of) {
    if (!file.empty() && !seen_.insert(file).second)
      errors_.invalid(path_, quote(of), "conflicting duplicate paths");
  }

 private:
  const Path& path_;
  FieldErrors& errors_;
  std::set<std::string_view> seen_;
};

void check_projection(const api::VolumeProjection& source, const Path& path, ProjectedPaths& paths,
                      FieldErrors& errors) {
  int sources = 0;
  auto keyed = [&](const auto& projection, const char* name) {
    if (!projection) return;
    ++sources;
    const Path at = path.child(name);
    require(projection->name, at.child("name"), errors);
    check_items(projection->items, at, errors);
    for (const api::KeyToPath& item : projection->items) paths.add(item.path, projection->name);
  };
  keyed(source.secret, "secret");
  keyed(source.configMap, "configMap");
  if (source.downwardAPI) {
    ++sources;
    const Path at = path.child("downwardAPI");
    for (const api::DownwardAPIVolumeFile& file : source.downwardAPI->items) {
      check_downward_file(file, at, errors);
      paths.add(file.path, file.path);
    }
  }
  if (source.serviceAccountToken) {
    ++sources;
    check_token(*source.serviceAccountToken, path.child("serviceAccountToken"), errors);
    paths.add(source.serviceAccountToken->path, source.serviceAccountToken->path);
  }
  if (source.clusterTrustBundle) {
    ++sources;
    check_trust_bundle(*source.clusterTrustBundle, path.child("clusterTrustBundle"), errors);
    paths.add(source.clusterTrustBundle->path, source.clusterTrustBundle->path);
  }
  if (source.podCertificate) {
    ++sources;
    const api::PodCertificateProjection& certificate = *source.podCertificate;
    const Path at = path.child("podCertificate");
    require(certificate.signerName, at.child("signerName"), errors);
    check_one_of(certificate.keyType, at.child("keyType"),
                 {"RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"}, errors);
    for (const std::string* file :
         {&certificate.credentialBundlePath, &certificate.keyPath, &certificate.certificateChainPath})
      paths.add(*file, *file);
  }
  if (sources > 1) errors.forbidden(path, kMoreThanOne);
}

void check_host_path(const api::HostPathVolumeSource& host, const Path& path, FieldErrors& errors) {
  if (!require(host.path, path.child("path"), errors)) return;
  std::string_view rest = host.path;
  rest.remove_prefix(std::min(rest.find_first_not_of('/'), rest.size()));
  FieldErrors steps;
  check_descending_path(rest, path.child("path"), steps);
  if (!steps.empty()) errors.invalid(path.child("path"), quote(host.path), "must not contain '..'");
  if (host.type)
    check_one_of(*host.type, path.child("type"),
                 {"", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"},
                 errors);
}

void check_nfs(const api::NFSVolumeSource& nfs, const Path& path, FieldErrors& errors) {
  require(nfs.server, path.child("server"), errors);
  require(nfs.path, path.child("path"), errors);
  if (!nfs.path.starts_with('/')) errors.invalid(path.child("path"), quote(nfs.path), "must be an absolute path");
}

template <class Iscsi>
void check_iscsi(const Iscsi& iscsi, const Path& path, FieldErrors& errors) {
  require(iscsi.targetPortal, path.child("targetPortal"), errors);
  if (require(iscsi.iqn, path.child("iqn"), errors) && !iscsi.iqn.starts_with("iqn") && !iscsi.iqn.starts_with("eui") &&
      !iscsi.iqn.starts_with("naa"))
    errors.invalid(path.child("iqn"), quote(iscsi.iqn), "must be valid format");
  require_between(iscsi.lun, 0, 255, path.child("lun"), errors);
  if ((iscsi.chapAuthDiscovery || iscsi.chapAuthSession) && !iscsi.secretRef)
    errors.required(path.child("secretRef"));
}

void check_fibre_channel(const api::FCVolumeSource& fc, const Path& path, FieldErrors& errors) {
  if (fc.targetWWNs.empty() && fc.wwids.empty())
    errors.required(path.child("targetWWNs"), "must specify either targetWWNs or wwids, but not both");
  if (!fc.targetWWNs.empty() && !fc.wwids.empty())
    errors.invalid(path.child("targetWWNs"), json_of(fc.targetWWNs),
                   "targetWWNs and wwids can not be specified simultaneously");
  if (fc.targetWWNs.empty()) return;
  if (!fc.lun) errors.required(path.child("lun"), "lun is required if targetWWNs is specified");
  else require_between(*fc.lun, 0, 255, path.child("lun"), errors);
}

void check_azure_disk(const api::AzureDiskVolumeSource& disk, const Path& path, FieldErrors& errors) {
  require(disk.diskName, path.child("diskName"), errors);
  require(disk.diskURI, path.child("diskURI"), errors);
  if (!disk.cachingMode.empty())
    check_one_of(disk.cachingMode, path.child("cachingMode"), {"None", "ReadOnly", "ReadWrite"}, errors);
  if (!disk.kind.empty())
    check_one_of(disk.kind, path.child("kind"), {"Dedicated", "Managed", "Shared"}, errors);
  bool managed = disk.kind == "Managed";
  if (managed && !disk.diskURI.starts_with("/subscriptions/"))
    errors.not_supported(path.child("diskURI"), disk.diskURI,
                         {"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"});
  if (!managed && !disk.kind.empty() && !disk.diskURI.empty() && !disk.diskURI.starts_with("https://"))
    errors.not_supported(path.child("diskURI"), disk.diskURI,
                         {"https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"});
}

void check_flocker(const api::FlockerVolumeSource& flocker, const Path& path, FieldErrors& errors) {
  if (flocker.datasetName.empty() && flocker.datasetUUID.empty())
    errors.required(path, "one of datasetName and datasetUUID is required");
  if (!flocker.datasetName.empty() && !flocker.datasetUUID.empty())
    errors.invalid(path, "\"resource\"", "datasetName and datasetUUID can not be specified simultaneously");
  if (flocker.datasetName.find('/') != std::string::npos)
    errors.invalid(path.child("datasetName"), quote(flocker.datasetName), "must not contain '/'");
}

void check_quobyte(const api::QuobyteVolumeSource& quobyte, const Path& path, FieldErrors& errors) {
  constexpr char kPairs[] = "must be a host:port pair or multiple pairs separated by commas";
  if (quobyte.registry.empty()) errors.required(path.child("registry"), kPairs);
  else if (quobyte.registry.find(':') == std::string::npos)
    errors.invalid(path.child("registry"), quote(quobyte.registry), kPairs);
  require(quobyte.volume, path.child("volume"), errors);
}

// Sources that pods and PersistentVolumes have in common, member by member of the same name.
template <class Sources>
void check_common_sources(const Sources& sources, const Path& path, OneOf& one, FieldErrors& errors) {
  if (one.first(bool(sources.hostPath), "hostPath")) check_host_path(*sources.hostPath, path.child("hostPath"), errors);
  if (one.first(bool(sources.gcePersistentDisk), "gcePersistentDisk")) {
    const Path at = path.child("gcePersistentDisk");
    require(sources.gcePersistentDisk->pdName, at.child("pdName"), errors);
    check_partition(sources.gcePersistentDisk->partition, at.child("partition"), errors);
  }
  if (one.first(bool(sources.awsElasticBlockStore), "awsElasticBlockStore")) {
    const Path at = path.child("awsElasticBlockStore");
    require(sources.awsElasticBlockStore->volumeID, at.child("volumeID"), errors);
    check_partition(sources.awsElasticBlockStore->partition, at.child("partition"), errors);
  }
  if (one.first(bool(sources.nfs), "nfs")) check_nfs(*sources.nfs, path.child("nfs"), errors);
  if (one.first(bool(sources.iscsi), "iscsi")) check_iscsi(*sources.iscsi, path.child("iscsi"), errors);
  if (one.first(bool(sources.glusterfs), "glusterfs")) {
    const Path at = path.child("glusterfs");
    require(sources.glusterfs->endpoints, at.child("endpoints"), errors);
    require(sources.glusterfs->path, at.child("path"), errors);
  }
  if (one.first(bool(sources.flocker), "flocker")) check_flocker(*sources.flocker, path.child("flocker"), errors);
  if (one.first(bool(sources.rbd), "rbd")) {
    const Path at = path.child("rbd");
    if (sources.rbd->monitors.empty()) errors.required(at.child("monitors"));
    require(sources.rbd->image, at.child("image"), errors);
  }
  if (one.first(bool(sources.cinder), "cinder")) {
    const Path at = path.child("cinder");
    require(sources.cinder->volumeID, at.child("volumeID"), errors);
  }
  if (one.first(bool(sources.cephfs), "cephFS") && sources.cephfs->monitors.empty()) {
    const Path at = path.child("cephfs");
    errors.required(at.child("monitors"));
  }
  if (one.first(bool(sources.quobyte), "quobyte")) check_quobyte(*sources.quobyte, path.child("quobyte"), errors);
  if (one.first(bool(sources.fc), "fc")) check_fibre_channel(*sources.fc, path.child("fc"), errors);
  if (one.first(bool(sources.flexVolume), "flexVolume")) {
    const Path at = path.child("flexVolume");
    require(sources.flexVolume->driver, at.child("driver"), errors);
  }
  if (one.first(bool(sources.azureFile), "azureFile")) {
    const Path at = path.child("azureFile");
    require(sources.azureFile->secretName, at.child("secretName"), errors);
    require(sources.azureFile->shareName, at.child("shareName"), errors);
  }
  if (one.first(bool(sources.vsphereVolume), "vsphereVolume")) {
    const Path at = path.child("vsphereVolume");
    require(sources.vsphereVolume->volumePath, at.child("volumePath"), errors);
  }
  if (one.first(bool(sources.photonPersistentDisk), "photonPersistentDisk")) {
    const Path at = path.child("photonPersistentDisk");
    require(sources.photonPersistentDisk->pdID, at.child("pdID"), errors);
  }
  if (one.first(bool(sources.portworxVolume), "portworxVolume")) {
    const Path at = path.child("portworxVolume");
    require(sources.portworxVolume->volumeID, at.child("volumeID"), errors);
  }
  if (one.first(bool(sources.azureDisk), "azureDisk")) check_azure_disk(*sources.azureDisk, path.child("azureDisk"), errors);
  one.first(bool(sources.storageos), "storageos");
  if (one.first(bool(sources.scaleIO), "scaleIO")) {
    const Path at = path.child("scaleIO");
    require(sources.scaleIO->gateway, at.child("gateway"), errors);
    require(sources.scaleIO->system, at.child("system"), errors);
    require(sources.scaleIO->volumeName, at.child("volumeName"), errors);
  }
}

void check_config_sources(const Volume& volume, const Path& path, OneOf& one, FieldErrors& errors) {
  if (one.first(bool(volume.secret), "secret")) {
    const Path at = path.child("secret");
    require(volume.secret->secretName, at.child("secretName"), errors);
    check_mode(volume.secret->defaultMode, at.child("defaultMode"), errors);
    check_items(volume.secret->items, at, errors);
  }
  if (one.first(bool(volume.configMap), "configMap")) {
    const Path at = path.child("configMap");
    require(volume.configMap->name, at.child("name"), errors);
    check_mode(volume.configMap->defaultMode, at.child("defaultMode"), errors);
    check_items(volume.configMap->items, at, errors);
  }
  if (one.first(bool(volume.downwardAPI), "downwardAPI")) {
    const Path at = path.child("downwardAPI");
    check_mode(volume.downwardAPI->defaultMode, at.child("defaultMode"), errors);
    for (const api::DownwardAPIVolumeFile& file : volume.downwardAPI->items) check_downward_file(file, at, errors);
  }
  if (one.first(bool(volume.projected), "projected")) {
    const Path at = path.child("projected");
    check_mode(volume.projected->defaultMode, at.child("defaultMode"), errors);
    ProjectedPaths paths(at, errors);
    for (size_t i = 0; i < volume.projected->sources.size(); ++i)
      check_projection(volume.projected->sources[i], at.child("sources", i), paths, errors);
  }
}

void check_source(const Volume& volume, const Path& path, PodKind kind, FieldErrors& errors) {
  OneOf one(path, kMoreThanOne, errors);
  if (one.first(bool(volume.emptyDir), "emptyDir") && volume.emptyDir->sizeLimit &&
      *volume.emptyDir->sizeLimit < api::Quantity::of(0)) {
    const Path at = path.child("emptyDir");
    errors.forbidden(at.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
  }
  if (one.first(bool(volume.gitRepo), "gitRepo")) {
    const Path at = path.child("gitRepo");
    require(volume.gitRepo->repository, at.child("repository"), errors);
    check_descending_path(volume.gitRepo->directory, at.child("directory"), errors);
  }
  check_config_sources(volume, path, one, errors);
  if (one.first(bool(volume.persistentVolumeClaim), "persistentVolumeClaim")) {
    const Path at = path.child("persistentVolumeClaim");
    require(volume.persistentVolumeClaim->claimName, at.child("claimName"), errors);
  }
  check_common_sources(volume, path, one, errors);
  if (one.first(bool(volume.csi), "csi")) {
    const Path at = path.child("csi");
    check_csi_driver_name(volume.csi->driver, at.child("driver"), errors);
    if (volume.csi->nodePublishSecretRef) {
      const Path secret = at.child("nodePublishSecretRef");
      if (require(volume.csi->nodePublishSecretRef->name, secret.child("name"), errors))
        check_dns_subdomain(volume.csi->nodePublishSecretRef->name, secret.child("name"), errors);
    }
  }
  if (one.first(bool(volume.ephemeral), "ephemeral")) {
    const Path at = path.child("ephemeral");
    const Path claim = at.child("volumeClaimTemplate");
    if (!volume.ephemeral->volumeClaimTemplate) errors.required(claim);
    else check_claim_spec(volume.ephemeral->volumeClaimTemplate->spec, claim.child("spec"), errors);
  }
  if (one.first(bool(volume.image), "image")) {
    const Path at = path.child("image");
    if (kind == PodKind::Pod) require(volume.image->reference, at.child("reference"), errors);
    require_one_of(volume.image->pullPolicy, at.child("pullPolicy"), {"Always", "IfNotPresent", "Never"}, errors);
  }
  if (one.none()) errors.required(path, "must specify a volume type");
}

bool has_name(const std::vector<const Volume*>& volumes, std::string_view name) {
  return std::any_of(volumes.begin(), volumes.end(), [&](const Volume* volume) { return volume->name == name; });
}

void check_data_source(const auto& source, const Path& path, FieldErrors& errors) {
  require(source.name, path.child("name"), errors);
  require(source.kind, path.child("kind"), errors);
  const std::string group = source.apiGroup.value_or("");
  if (group.empty() && source.kind != "PersistentVolumeClaim")
    errors.invalid(path, quote(source.kind), "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
  if (!group.empty()) check_dns_subdomain(group, path.child("apiGroup"), errors);
}

}  // namespace

std::vector<const Volume*> check_volumes(const std::vector<Volume>& volumes, const Path& spec, PodKind kind,
                                         FieldErrors& errors) {
  std::vector<const Volume*> valid;
  valid.reserve(volumes.size());
  for (size_t i = 0; i < volumes.size(); ++i) {
    const Path at = spec.child("volumes", i);
    const size_t before = errors.all().size();
    check_source(volumes[i], at, kind, errors);
    if (require(volumes[i].name, at.child("name"), errors)) check_dns_label(volumes[i].name, at.child("name"), errors);
    if (has_name(valid, volumes[i].name)) errors.duplicate(at.child("name"), quote(volumes[i].name));
    if (errors.all().size() == before) valid.push_back(&volumes[i]);
  }
  return valid;
}

void check_csi_driver_name(const std::string& driver, const Path& path, FieldErrors& errors) {
  if (!require(driver, path, errors)) return;
  if (driver.size() > 63) errors.too_long(path, 63);
  std::string lowered = driver;
  for (char& c : lowered) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  add_problems(path, driver, api::dns1123_subdomain_problems(lowered), errors);
}

void check_persistent_volume_source(const api::PersistentVolumeSpec& spec, const Path& path, FieldErrors& errors) {
  OneOf one(path, kMoreThanOne, errors);
  check_common_sources(spec, path, one, errors);
  if (one.first(bool(spec.local), "local")) {
    const Path at = path.child("local");
    if (require(spec.local->path, at.child("path"), errors) &&
        (spec.local->path == ".." || spec.local->path.find("/..") != std::string::npos))
      errors.invalid(at.child("path"), quote(spec.local->path), "must not contain '..'");
    if (!spec.nodeAffinity) errors.required(path.child("nodeAffinity"), "Local volume requires node affinity");
  }
  if (one.first(bool(spec.csi), "csi")) {
    const Path at = path.child("csi");
    check_csi_driver_name(spec.csi->driver, at.child("driver"), errors);
    require(spec.csi->volumeHandle, at.child("volumeHandle"), errors);
    auto secret = [&](const api::Box<api::SecretReference>& ref, const char* name) {
      if (!ref) return;
      const Path to = at.child(name);
      require(ref->name, to.child("name"), errors);
      require(ref->namespace_, to.child("namespace"), errors);
    };
    secret(spec.csi->controllerPublishSecretRef, "controllerPublishSecretRef");
    secret(spec.csi->controllerExpandSecretRef, "controllerExpandSecretRef");
    secret(spec.csi->nodePublishSecretRef, "nodePublishSecretRef");
    secret(spec.csi->nodeExpandSecretRef, "nodeExpandSecretRef");
  }
  if (one.none()) errors.required(path, "must specify a volume type");
}

void check_claim_spec(const api::PersistentVolumeClaimSpec& spec, const Path& path, FieldErrors& errors) {
  if (spec.accessModes.empty()) errors.required(path.child("accessModes"), "at least 1 access mode is required");
  if (spec.selector) check_label_selector(*spec.selector, path.child("selector"), errors);
  for (const std::string& mode : spec.accessModes)
    check_one_of(mode, path.child("accessModes"),
                 {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"}, errors);
  bool alone = std::find(spec.accessModes.begin(), spec.accessModes.end(), "ReadWriteOncePod") != spec.accessModes.end();
  if (alone && spec.accessModes.size() > 1)
    errors.forbidden(path.child("accessModes"), "may not use ReadWriteOncePod with other access modes");
  auto storage = spec.resources.requests.find("storage");
  const Path amount = path.key("resources", "storage");
  if (storage == spec.resources.requests.end()) errors.required(amount);
  else if (storage->second <= api::Quantity::of(0)) errors.invalid(amount, quote(storage->second.text()), kPositive);
  if (spec.storageClassName && !spec.storageClassName->empty())
    check_dns_subdomain(*spec.storageClassName, path.child("storageClassName"), errors);
  if (!spec.volumeMode.empty())
    check_one_of(spec.volumeMode, path.child("volumeMode"), {"Block", "Filesystem"}, errors);
  if (spec.dataSource) check_data_source(*spec.dataSource, path.child("dataSource"), errors);
  if (spec.dataSourceRef) {
    const Path at = path.child("dataSourceRef");
    check_data_source(*spec.dataSourceRef, at, errors);
    if (!spec.dataSourceRef->namespace_.empty())
      check_dns_label(spec.dataSourceRef->namespace_, at.child("namespace"), errors);
  }
  if (spec.dataSource && spec.dataSourceRef) {
    const api::TypedLocalObjectReference& source = *spec.dataSource;
    const api::TypedObjectReference& ref = *spec.dataSourceRef;
    const std::string at = path.child("dataSource");
    if (!ref.namespace_.empty())
      errors.invalid(path, quote(at), "may not be specified when dataSourceRef.namespace is specified");
    else if (source.apiGroup != ref.apiGroup || source.kind != ref.kind || source.name != ref.name)
      errors.invalid(path, quote(at), "must match dataSourceRef");
  }
  if (spec.volumeAttributesClassName && !spec.volumeAttributesClassName->empty())
    check_dns_subdomain(*spec.volumeAttributesClassName, path.child("volumeAttributesClassName"), errors);
}

}  // namespace skiff::registry
