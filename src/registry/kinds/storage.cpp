// PersistentVolumes, their claims, and the classes and drivers that make them.

#include <algorithm>

#include "api/gen/storage.hpp"
#include "api/gen/volume.hpp"
#include "api/json.hpp"
#include "registry/kinds/differences.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/kinds/placement.hpp"
#include "registry/kinds/volumes.hpp"

namespace skiff::registry {
namespace {

using api::quote;
using api::PersistentVolume;
using api::PersistentVolumeClaim;

const Path kSpec("spec");
constexpr char kBetaClass[] = "volume.beta.kubernetes.io/storage-class";

// ---- PersistentVolumes

template <class T>
Status begin_pending(T& object, StrategyContext&) {
  object.status.phase = "Pending";
  return ok();
}

void check_access_modes(const std::vector<std::string>& modes, FieldErrors& errors) {
  const Path at = kSpec.child("accessModes");
  if (modes.empty()) errors.required(at);
  for (const std::string& mode : modes)
    check_one_of(mode, at, {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"}, errors);
  if (modes.size() > 1 && std::find(modes.begin(), modes.end(), "ReadWriteOncePod") != modes.end())
    errors.forbidden(at, "may not use ReadWriteOncePod with other access modes");
}

// The volume itself, without what may be said about it.
api::PersistentVolumeSpec source_of(api::PersistentVolumeSpec spec) {
  spec.capacity.clear();
  spec.accessModes.clear();
  spec.claimRef.reset();
  spec.persistentVolumeReclaimPolicy.clear();
  spec.storageClassName.clear();
  spec.mountOptions.clear();
  spec.volumeMode.clear();
  spec.nodeAffinity.reset();
  spec.volumeAttributesClassName.reset();
  return spec;
}

void check_volume_update(const PersistentVolume& volume, const PersistentVolume& old, FieldErrors& errors) {
  api::PersistentVolumeSpec next = source_of(volume.spec), before = source_of(old.spec);
  if (before.csi && next.csi && !before.csi->controllerExpandSecretRef) next.csi->controllerExpandSecretRef.reset();
  if (!(next == before))
    errors.forbidden("spec.persistentvolumesource",
                     "spec.persistentvolumesource is immutable after creation\n" + difference(before, next));
  require_same(volume.spec.volumeMode, old.spec.volumeMode, Path("volumeMode"), errors);
  if (old.spec.nodeAffinity && !(volume.spec.nodeAffinity == old.spec.nodeAffinity))
    errors.invalid("nodeAffinity", volume.spec.nodeAffinity ? api::to_json(*volume.spec.nodeAffinity) : "null",
                   kImmutable);
  if (old.spec.volumeAttributesClassName && !volume.spec.volumeAttributesClassName)
    errors.forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden");
}

void validate_volume(const PersistentVolume& volume, const PersistentVolume* old, FieldErrors& errors) {
  const api::PersistentVolumeSpec& spec = volume.spec;
  check_access_modes(spec.accessModes, errors);
  const Path capacity = kSpec.child("capacity");
  if (spec.capacity.empty()) errors.required(capacity);
  if (!spec.capacity.contains("storage") || spec.capacity.size() > 1)
    errors.not_supported(capacity, spec.capacity.empty() ? "" : spec.capacity.begin()->first, {"storage"});
  for (const auto& [resource, amount] : spec.capacity)
    if (amount <= api::Quantity::of(0)) errors.invalid(kSpec.key("capacity", resource), quote(amount.text()), kPositive);
  if (!spec.persistentVolumeReclaimPolicy.empty())
    check_one_of(spec.persistentVolumeReclaimPolicy, kSpec.child("persistentVolumeReclaimPolicy"),
                 {"Delete", "Recycle", "Retain"}, errors);
  if (spec.nodeAffinity) {
    const Path at = kSpec.child("nodeAffinity");
    if (!spec.nodeAffinity->required) errors.required(at.child("required"), "must specify required node constraints");
    else check_node_selector(*spec.nodeAffinity->required, at.child("required"), errors);
  }
  check_persistent_volume_source(spec, kSpec, errors);
  if (spec.hostPath && spec.hostPath->path == "/" && spec.persistentVolumeReclaimPolicy == "Recycle")
    errors.forbidden(kSpec.child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'");
  if (!spec.storageClassName.empty())
    check_dns_subdomain(spec.storageClassName, kSpec.child("storageClassName"), errors);
  if (!spec.volumeMode.empty())
    check_one_of(spec.volumeMode, kSpec.child("volumeMode"), {"Block", "Filesystem"}, errors);
  if (spec.volumeAttributesClassName) {
    const Path at = kSpec.child("volumeAttributesClassName");
    if (spec.volumeAttributesClassName->empty()) errors.required(at, "an empty string is disallowed");
    else check_dns_subdomain(*spec.volumeAttributesClassName, at, errors);
    if (!spec.csi) errors.required(kSpec.child("csi"), "has to be specified when using volumeAttributesClassName");
  }
  if (old) check_volume_update(volume, *old, errors);
}

std::map<std::string, std::string> volume_fields(const PersistentVolume& volume) {
  return {{"name", volume.metadata.name}};
}

void warn_about_volume(const PersistentVolume& volume, const PersistentVolume*, std::vector<std::string>& warnings) {
  if (volume.metadata.annotations.contains(kBetaClass))
    warnings.push_back(fmt::format(R"(metadata.annotations[{}]: deprecated since v1.8; use "storageClassName" attribute instead)",
                                   kBetaClass));
  if (volume.spec.persistentVolumeReclaimPolicy == "Recycle")
    warnings.push_back("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the "
                       "recommended approach is to use dynamic provisioning.");
}

// ---- PersistentVolumeClaims

api::Quantity storage_of(const std::map<std::string, api::Quantity>& amounts) {
  auto storage = amounts.find("storage");
  return storage == amounts.end() ? api::Quantity() : storage->second;
}

std::string beta_class(const PersistentVolumeClaim& claim) {
  auto found = claim.metadata.annotations.find(kBetaClass);
  return found == claim.metadata.annotations.end() ? "" : found->second;
}

void check_claim_update(const PersistentVolumeClaim& claim, const PersistentVolumeClaim& old, FieldErrors& errors) {
  api::PersistentVolumeClaimSpec next = claim.spec, before = old.spec;
  if (before.volumeName.empty()) before.volumeName = next.volumeName;
  if (beta_class(claim) != beta_class(old))
    errors.invalid(fmt::format("metadata.annotations.{}", kBetaClass), quote(beta_class(claim)), kImmutable);
  if (!before.storageClassName && next.storageClassName) next.storageClassName.reset();
  if (claim.status.phase == "Bound") {
    if (next.resources.requests.contains("storage")) next.resources.requests["storage"] = storage_of(before.resources.requests);
    if (next.volumeAttributesClassName) next.volumeAttributesClassName = before.volumeAttributesClassName;
  }
  if (!(next == before))
    errors.forbidden(kSpec,
                     "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
                     "bound claims\n" + difference(before, next));
  const api::Quantity size = storage_of(claim.spec.resources.requests);
  if (size < storage_of(old.spec.resources.requests) && size <= storage_of(old.status.capacity))
    errors.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity");
  require_same(claim.spec.volumeMode, old.spec.volumeMode, Path("volumeMode"), errors);
  if (!old.spec.volumeAttributesClassName) return;
  const Path at = kSpec.child("volumeAttributesClassName");
  if (!claim.spec.volumeAttributesClassName) errors.forbidden(at, "update from non-nil value to nil is forbidden");
  else if (claim.spec.volumeAttributesClassName->empty() && !old.spec.volumeAttributesClassName->empty())
    errors.forbidden(at, "update from non-nil value to an empty string is forbidden");
}

void validate_claim(const PersistentVolumeClaim& claim, const PersistentVolumeClaim* old, FieldErrors& errors) {
  check_claim_spec(claim.spec, kSpec, errors);
  if (old) check_claim_update(claim, *old, errors);
}

std::map<std::string, std::string> claim_fields(const PersistentVolumeClaim& claim) {
  return {{"name", claim.metadata.name}};
}

void warn_about_claim(const PersistentVolumeClaim& claim, const PersistentVolumeClaim*,
                      std::vector<std::string>& warnings) {
  if (claim.metadata.annotations.contains(kBetaClass))
    warnings.push_back(fmt::format(R"(metadata.annotations[{}]: deprecated since v1.8; use "storageClassName" attribute instead)",
                                   kBetaClass));
  auto fractional = [&](const std::map<std::string, api::Quantity>& amounts, const char* list) {
    if (auto amount = amounts.find("storage"); amount != amounts.end() && amount->second.milli() % 1000 != 0)
      warnings.push_back(fmt::format("spec.resources.{}[storage]: fractional byte value {} is invalid, must be an integer",
                                     list, quote(amount->second.text())));
  };
  fractional(claim.spec.resources.requests, "requests");
  fractional(claim.spec.resources.limits, "limits");
}

// ---- classes and drivers

void validate_class(const api::StorageClass& one, const api::StorageClass* old, FieldErrors& errors) {
  if (require(one.provisioner, Path("provisioner"), errors)) {
    std::string lowered = one.provisioner;
    for (char& c : lowered) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    add_problems(Path("provisioner"), one.provisioner, api::qualified_name_problems(lowered), errors);
  }
  size_t bytes = 0;
  if (one.parameters.size() > 512) errors.too_long("parameters", 512);
  for (const auto& [key, value] : one.parameters) {
    if (key.empty()) errors.invalid("parameters", quote(key), "field can not be empty.");
    bytes += key.size() + value.size();
  }
  if (bytes > 256 * 1024) errors.too_long("parameters", 256 * 1024);
  if (!one.reclaimPolicy.empty()) check_one_of(one.reclaimPolicy, Path("reclaimPolicy"), {"Delete", "Retain"}, errors);
  require_one_of(one.volumeBindingMode, Path("volumeBindingMode"), {"Immediate", "WaitForFirstConsumer"}, errors);
  for (size_t i = 0; i < one.allowedTopologies.size(); ++i) {
    const Path root("");
    const Path term = root.child("allowedTopologies", i);
    const auto& expressions = one.allowedTopologies[i].matchLabelExpressions;
    for (size_t j = 0; j < expressions.size(); ++j) {
      const Path at = term.child("matchLabelExpressions", j);
      if (expressions[j].values.empty()) errors.required(at.child("values"));
      check_qualified_name(expressions[j].key, at.child("key"), errors);
    }
  }
  if (!old) return;
  constexpr char kNoUpdate[] = "updates to parameters are forbidden.";
  if (one.parameters != old->parameters) errors.forbidden("parameters", kNoUpdate);
  if (one.provisioner != old->provisioner) errors.forbidden("provisioner", "updates to provisioner are forbidden.");
  require_same(one.reclaimPolicy, old->reclaimPolicy, Path("reclaimPolicy"), errors);
  require_same(one.volumeBindingMode, old->volumeBindingMode, Path("volumeBindingMode"), errors);
}

void validate_attributes_class(const api::VolumeAttributesClass& one, const api::VolumeAttributesClass* old,
                               FieldErrors& errors) {
  check_csi_driver_name(one.driverName, Path("driverName"), errors);
  if (one.parameters.empty()) errors.required("parameters", "must contain at least one key/value pair");
  if (!old) return;
  if (one.driverName != old->driverName) errors.invalid("driverName", quote(one.driverName), kImmutable);
  if (one.parameters != old->parameters) errors.forbidden("parameters", "updates to parameters are forbidden.");
}

void validate_driver(const api::CSIDriver& driver, const api::CSIDriver* old, FieldErrors& errors) {
  if (driver.metadata.name.size() > 63) errors.too_long("metadata.name", 63);
  for (const std::string& mode : driver.spec.volumeLifecycleModes)
    check_one_of(mode, kSpec.child("volumeLifecycleModes"), {"Ephemeral", "Persistent"}, errors);
  if (!driver.spec.attachRequired) errors.required(kSpec.child("attachRequired"));
  if (!driver.spec.podInfoOnMount) errors.required(kSpec.child("podInfoOnMount"));
  if (!driver.spec.storageCapacity) errors.required(kSpec.child("storageCapacity"));
  if (!driver.spec.fsGroupPolicy.empty())
    check_one_of(driver.spec.fsGroupPolicy, kSpec.child("fsGroupPolicy"), {"File", "None", "ReadWriteOnceWithFSType"}, errors);
  for (size_t i = 0; i < driver.spec.tokenRequests.size(); ++i) {
    const std::optional<std::int64_t>& seconds = driver.spec.tokenRequests[i].expirationSeconds;
    const Path at = kSpec.child("tokenRequests", i);
    if (seconds && *seconds < 600)
      errors.invalid(at.child("expirationSeconds"), std::to_string(*seconds), "may not specify a duration less than 10 minutes");
  }
  if (!old) return;
  require_same(driver.spec.attachRequired, old->spec.attachRequired, kSpec.child("attachRequired"), errors);
  require_same(driver.spec.volumeLifecycleModes, old->spec.volumeLifecycleModes, kSpec.child("volumeLifecycleModes"), errors);
}

void validate_csi_node(const api::CSINode& node, const api::CSINode*, FieldErrors& errors) {
  for (size_t i = 0; i < node.spec.drivers.size(); ++i) {
    const api::CSINodeDriver& driver = node.spec.drivers[i];
    const Path at = kSpec.child("drivers", i);
    check_csi_driver_name(driver.name, at.child("name"), errors);
    require(driver.nodeID, at.child("nodeID"), errors);
    if (driver.nodeID.size() > 256) errors.invalid(at.child("nodeID"), quote(driver.nodeID), "must be 256 characters or less");
    for (const std::string& key : driver.topologyKeys) check_qualified_name(key, at.child("topologyKeys"), errors);
    for (size_t j = 0; j < i; ++j)
      if (node.spec.drivers[j].name == driver.name) errors.duplicate(at.child("name"), quote(driver.name));
  }
}

void validate_attachment(const api::VolumeAttachment& attachment, const api::VolumeAttachment* old, FieldErrors& errors) {
  check_csi_driver_name(attachment.spec.attacher, kSpec.child("attacher"), errors);
  const Path source = kSpec.child("source");
  const api::VolumeAttachmentSource& from = attachment.spec.source;
  if (from.persistentVolumeName.empty() && !from.inlineVolumeSpec)
    errors.required(source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
  if (!from.persistentVolumeName.empty() && from.inlineVolumeSpec)
    errors.forbidden(source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
  check_dns_subdomain(attachment.spec.nodeName, kSpec.child("nodeName"), errors);
  if (old && !(attachment.spec == old->spec))
    errors.invalid(kSpec, api::to_json(attachment.spec), kImmutable);
}

void validate_capacity(const api::CSIStorageCapacity& capacity, const api::CSIStorageCapacity* old, FieldErrors& errors) {
  check_dns_subdomain(capacity.storageClassName, Path("storageClassName"), errors);
  if (capacity.nodeTopology) check_label_selector(*capacity.nodeTopology, Path("nodeTopology"), errors);
  if (capacity.capacity) require_nonnegative(*capacity.capacity, Path("capacity"), errors);
  if (capacity.maximumVolumeSize) require_nonnegative(*capacity.maximumVolumeSize, Path("maximumVolumeSize"), errors);
  if (!old) return;
  require_same(capacity.storageClassName, old->storageClassName, Path("storageClassName"), errors);
  if (!(capacity.nodeTopology == old->nodeTopology))
    errors.invalid("nodeTopology", capacity.nodeTopology ? json_of(*capacity.nodeTopology) : "null", kImmutable);
}

template <class T>
Rules<T> validated(void (*validate)(const T&, const T*, FieldErrors&)) {
  Rules<T> rules;
  rules.validate = validate;
  return rules;
}

}  // namespace

std::vector<Resource> storage() {
  Rules<PersistentVolume> volumes = validated<PersistentVolume>(validate_volume);
  volumes.prepare_create = begin_pending<PersistentVolume>;
  volumes.selectable_fields = volume_fields;
  volumes.warn = warn_about_volume;
  volumes.returns_deleted = true;
  Rules<PersistentVolumeClaim> claims = validated<PersistentVolumeClaim>(validate_claim);
  claims.prepare_create = begin_pending<PersistentVolumeClaim>;
  claims.selectable_fields = claim_fields;
  claims.warn = warn_about_claim;
  claims.returns_deleted = true;
  Rules<api::CSIDriver> drivers = validated<api::CSIDriver>(validate_driver);
  drivers.counts_generation = true;
  return {define(volumes),
          define(claims),
          define(drivers),
          define(validated<api::CSINode>(validate_csi_node)),
          define(validated<api::CSIStorageCapacity>(validate_capacity)),
          define(validated<api::StorageClass>(validate_class)),
          define(validated<api::VolumeAttachment>(validate_attachment)),
          define(validated<api::VolumeAttributesClass>(validate_attributes_class))};
}

}  // namespace skiff::registry
