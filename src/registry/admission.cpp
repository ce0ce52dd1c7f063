#include "registry/admission.hpp"

#include <algorithm>

#include "api/gen/core.hpp"
#include "api/gen/networking.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/scheduling.hpp"
#include "api/gen/storage.hpp"
#include "api/gen/volume.hpp"

namespace skiff::registry {
namespace {

constexpr char kTokenMountPath[] = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr char kTokenVolumePrefix[] = "kube-api-access-";

// ---- ServiceAccount

api::Volume token_volume(const std::string& name) {
  api::Volume volume;
  volume.name = name;
  api::ProjectedVolumeSource& projected = volume.projected.emplace();
  projected.defaultMode = 420;
  api::ServiceAccountTokenProjection token;
  token.path = "token";
  token.expirationSeconds = 3607;
  projected.sources.emplace_back().serviceAccountToken = token;
  api::ConfigMapProjection authority;
  authority.name = "kube-root-ca.crt";
  api::KeyToPath item;
  item.key = item.path = "ca.crt";
  authority.items = {item};
  projected.sources.emplace_back().configMap = authority;
  api::DownwardAPIVolumeFile namespace_file;
  namespace_file.path = "namespace";
  api::ObjectFieldSelector& field = namespace_file.fieldRef.emplace();
  field.apiVersion = "v1";
  field.fieldPath = "metadata.namespace";
  api::DownwardAPIProjection downward;
  downward.items = {namespace_file};
  projected.sources.emplace_back().downwardAPI = downward;
  return volume;
}

bool mounts_token(const api::Container& container) {
  return std::any_of(container.volumeMounts.begin(), container.volumeMounts.end(),
                     [](const api::VolumeMount& mount) { return mount.mountPath == kTokenMountPath; });
}

void mount_token(api::PodSpec& spec, Random& random) {
  std::string name;
  for (const api::Volume& volume : spec.volumes)
    if (volume.name.starts_with(kTokenVolumePrefix)) name = volume.name;
  bool needed = false;
  if (name.empty()) name = kTokenVolumePrefix + random.name_suffix(5);
  auto mount = [&](api::Container& container) {
    if (mounts_token(container)) return;
    api::VolumeMount& added = container.volumeMounts.emplace_back();
    added.name = name;
    added.readOnly = true;
    added.mountPath = kTokenMountPath;
    needed = true;
  };
  std::for_each(spec.initContainers.begin(), spec.initContainers.end(), mount);
  std::for_each(spec.containers.begin(), spec.containers.end(), mount);
  bool present = std::any_of(spec.volumes.begin(), spec.volumes.end(),
                             [&](const api::Volume& volume) { return volume.name == name; });
  if (needed && !present) spec.volumes.push_back(token_volume(name));
}

Status admit_service_account(api::Pod& pod, StrategyContext& context, Random& random) {
  if (pod.metadata.annotations.contains("kubernetes.io/config.mirror")) return ok();
  api::PodSpec& spec = pod.spec;
  if (spec.serviceAccountName.empty()) spec.serviceAccountName = "default";
  spec.serviceAccount = spec.serviceAccountName;
  Result<client::Ref<api::ServiceAccount>> account =
      context.cluster.get<api::ServiceAccount>({pod.metadata.namespace_, spec.serviceAccountName});
  if (!account.ok()) {
    if (account.error().code() != Code::NotFound) return std::move(account).error();
    return api::forbidden(api::kind_of<api::Pod>(), pod.metadata.name,
                          fmt::format("error looking up service account {}/{}: serviceaccount {} not found",
                                      pod.metadata.namespace_, spec.serviceAccountName,
                                      api::quote(spec.serviceAccountName)));
  }
  bool wanted = spec.automountServiceAccountToken.value_or(
      account.value()->automountServiceAccountToken.value_or(true));
  if (wanted) mount_token(spec, random);
  if (spec.imagePullSecrets.empty())
    for (const api::LocalObjectReference& secret : account.value()->imagePullSecrets)
      spec.imagePullSecrets.push_back(secret);
  return ok();
}

// ---- DefaultTolerationSeconds

void default_tolerations(api::PodSpec& spec) {
  for (const char* taint : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
    bool tolerated = std::any_of(spec.tolerations.begin(), spec.tolerations.end(), [&](const api::Toleration& one) {
      return (one.key == taint || one.key.empty()) && (one.effect == "NoExecute" || one.effect.empty());
    });
    if (tolerated) continue;
    api::Toleration& added = spec.tolerations.emplace_back();
    added.key = taint;
    added.operator_ = "Exists";
    added.effect = "NoExecute";
    added.tolerationSeconds = 300;
  }
}

// ---- Priority

Status admit_priority(api::Pod& pod, StrategyContext& context) {
  api::PodSpec& spec = pod.spec;
  std::int32_t priority = 0;
  std::string preemption = "PreemptLowerPriority";
  if (!spec.priorityClassName.empty()) {
    auto found = context.cluster.get<api::PriorityClass>({"", spec.priorityClassName});
    if (!found.ok())
      return api::forbidden(api::kind_of<api::Pod>(), pod.metadata.name,
                            fmt::format("no PriorityClass with name {} was found", spec.priorityClassName));
    priority = found.value()->value;
    preemption = found.value()->preemptionPolicy;
  } else {
    TRY_ASSIGN(auto classes, context.cluster.list<api::PriorityClass>());
    for (const auto& one : classes) {
      if (!one->globalDefault) continue;
      priority = one->value;
      spec.priorityClassName = one->metadata.name;
      preemption = one->preemptionPolicy;
    }
  }
  if (spec.priority && *spec.priority != priority)
    return api::forbidden(api::kind_of<api::Pod>(), pod.metadata.name,
                          fmt::format("the integer value of priority ({}) must not be provided in pod spec; priority "
                                      "admission controller computed {} from the given PriorityClass name",
                                      *spec.priority, priority));
  spec.priority = priority;
  if (spec.preemptionPolicy.empty()) spec.preemptionPolicy = preemption;
  return ok();
}

// ---- DefaultStorageClass, DefaultIngressClass

template <class Class>
Result<std::string> default_class(StrategyContext& context, const char* annotation) {
  TRY_ASSIGN(auto classes, context.cluster.list<Class>());
  for (const auto& one : classes) {
    auto mark = one->metadata.annotations.find(annotation);
    if (mark != one->metadata.annotations.end() && mark->second == "true") return one->metadata.name;
  }
  return std::string();
}

Status admit_claim(api::PersistentVolumeClaim& claim, StrategyContext& context) {
  if (claim.spec.storageClassName || claim.metadata.annotations.contains("volume.beta.kubernetes.io/storage-class"))
    return ok();
  TRY_ASSIGN(std::string name,
             default_class<api::StorageClass>(context, "storageclass.kubernetes.io/is-default-class"));
  if (!name.empty()) claim.spec.storageClassName = name;
  return ok();
}

Status admit_ingress(api::Ingress& ingress, StrategyContext& context) {
  if (ingress.spec.ingressClassName || ingress.metadata.annotations.contains("kubernetes.io/ingress.class"))
    return ok();
  TRY_ASSIGN(std::string name,
             default_class<api::IngressClass>(context, "ingressclass.kubernetes.io/is-default-class"));
  if (!name.empty()) ingress.spec.ingressClassName = name;
  return ok();
}

template <class T>
T* as(Draft& draft) {
  return draft.kind == &api::kind_of<T>() ? static_cast<T*>(draft.value.get()) : nullptr;
}

}  // namespace

Status admit_namespace(const Registry& registry, const Resource& resource, const api::ObjectMeta& metadata) {
  if (!resource.kind->namespaced || !resource.strategy.stored) return ok();
  TRY_ASSIGN(Object object, registry.get(registry.of(api::kind_of<api::Namespace>()), {"", metadata.namespace_}));
  client::Ref<api::Namespace> namespace_ = object.any().as<api::Namespace>();
  if (!namespace_->metadata.deletionTimestamp) return ok();
  auto detail = std::make_shared<api::StatusDetail>();
  detail->name = metadata.name;
  detail->group = resource.kind->group;
  detail->kind = resource.kind->plural;
  detail->causes.push_back({"NamespaceTerminating",
                            fmt::format("namespace {} is being terminated", metadata.namespace_),
                            "metadata.namespace"});
  return api::forbidden(*resource.kind, metadata.name,
                        fmt::format("unable to create new content in namespace {} because it is being terminated",
                                    metadata.namespace_))
      .with(std::move(detail));
}

Status admit_create(const Registry& registry, const Resource& resource, Draft& draft, StrategyContext& context) {
  TRY(admit_namespace(registry, resource, draft.metadata()));
  if (api::Pod* pod = as<api::Pod>(draft)) {
    TRY(admit_service_account(*pod, context, context.random));
    TRY(admit_priority(*pod, context));
    default_tolerations(pod->spec);
  }
  if (auto* claim = as<api::PersistentVolumeClaim>(draft)) TRY(admit_claim(*claim, context));
  if (auto* ingress = as<api::Ingress>(draft)) TRY(admit_ingress(*ingress, context));
  return ok();
}

Status admit_delete(const Resource& resource, const ObjectKey& key) {
  if (resource.kind != &api::kind_of<api::Namespace>()) return ok();
  for (const char* immortal : {"default", "kube-system", "kube-public"})
    if (key.name == immortal)
      return api::forbidden(*resource.kind, key.name, "this namespace may not be deleted");
  return ok();
}

}  // namespace skiff::registry
