// Admission plugins for pods: ServiceAccount, Priority, DefaultTolerationSeconds, RuntimeClass.

#include <algorithm>

#include "api/gen/core.hpp"
#include "api/gen/node.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/scheduling.hpp"
#include "registry/admission_plugins.hpp"

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

// A pod that is being created, or null.
api::Pod* new_pod(const Attributes& attributes) {
  return attributes.operation == Operation::Create ? attributes.object_as<api::Pod>() : nullptr;
}

Result<client::Ref<api::ServiceAccount>> account_of(const Attributes& attributes, const std::string& name) {
  const std::string& namespace_ = attributes.key.namespace_;
  auto account = attributes.context.cluster.get<api::ServiceAccount>({namespace_, name});
  if (account.ok() || account.error().code() != Code::NotFound) return account;
  return forbidden(attributes, fmt::format("error looking up service account {}/{}: serviceaccount {} not found",
                                           namespace_, name, api::quote(name)));
}

}  // namespace

Status admit_service_account(const PluginContext&, Attributes& attributes) {
  api::Pod* pod = new_pod(attributes);
  if (pod == nullptr || pod->metadata.annotations.contains("kubernetes.io/config.mirror")) return ok();
  api::PodSpec& spec = pod->spec;
  if (spec.serviceAccountName.empty()) spec.serviceAccountName = "default";
  spec.serviceAccount = spec.serviceAccountName;
  TRY_ASSIGN(client::Ref<api::ServiceAccount> account, account_of(attributes, spec.serviceAccountName));
  bool wanted = spec.automountServiceAccountToken.value_or(account->automountServiceAccountToken.value_or(true));
  if (wanted) mount_token(spec, attributes.context.random);
  if (spec.imagePullSecrets.empty()) spec.imagePullSecrets = account->imagePullSecrets;
  return ok();
}

Status admit_default_tolerations(const PluginContext& context, Attributes& attributes) {
  api::Pod* pod = new_pod(attributes);
  if (pod == nullptr) return ok();
  auto& tolerations = pod->spec.tolerations;
  for (const char* taint : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
    bool tolerated = std::any_of(tolerations.begin(), tolerations.end(), [&](const api::Toleration& one) {
      return (one.key == taint || one.key.empty()) && (one.effect == "NoExecute" || one.effect.empty());
    });
    if (tolerated) continue;
    api::Toleration& added = tolerations.emplace_back();
    added.key = taint;
    added.operator_ = "Exists";
    added.effect = "NoExecute";
    added.tolerationSeconds = context.toleration_seconds;
  }
  return ok();
}

Status admit_priority(const PluginContext& context, Attributes& attributes) {
  api::Pod* pod = new_pod(attributes);
  if (pod == nullptr) return ok();
  api::PodSpec& spec = pod->spec;
  std::int32_t priority = 0;
  std::string preemption = "PreemptLowerPriority";
  if (!spec.priorityClassName.empty()) {
    auto found = attributes.context.cluster.get<api::PriorityClass>({"", spec.priorityClassName});
    if (!found.ok())
      return forbidden(attributes, fmt::format("no PriorityClass with name {} was found", spec.priorityClassName));
    priority = found.value()->value;
    preemption = found.value()->preemptionPolicy;
  } else {
    for (const auto& one : all_of<api::PriorityClass>(context)) {
      if (!one->globalDefault) continue;
      priority = one->value;
      spec.priorityClassName = one->metadata.name;
      preemption = one->preemptionPolicy;
    }
  }
  if (spec.priority && *spec.priority != priority)
    return forbidden(attributes, fmt::format("the integer value of priority ({}) must not be provided in pod spec; "
                                             "priority admission controller computed {} from the given PriorityClass "
                                             "name",
                                             *spec.priority, priority));
  spec.priority = priority;
  if (spec.preemptionPolicy.empty()) spec.preemptionPolicy = preemption;
  return ok();
}

// ---- RuntimeClass

namespace {

// The class that a new pod names; null when it names none.
Result<client::Ref<api::RuntimeClass>> runtime_class(const Attributes& attributes, const api::PodSpec& spec) {
  if (!spec.runtimeClassName) return client::Ref<api::RuntimeClass>();
  auto found = attributes.context.cluster.get<api::RuntimeClass>({"", *spec.runtimeClassName});
  if (found.ok() || found.error().code() != Code::NotFound) return found;
  return forbidden(attributes, fmt::format("pod rejected: RuntimeClass {} not found", api::quote(*spec.runtimeClassName)));
}

Status join_scheduling(const Attributes& attributes, const api::Scheduling& scheduling, api::PodSpec& spec) {
  for (const auto& [key, value] : scheduling.nodeSelector) {
    auto [present, added] = spec.nodeSelector.try_emplace(key, value);
    if (!added && present->second != value)
      return forbidden(attributes, fmt::format("conflict: runtimeClass.scheduling.nodeSelector[{0}] = {1}; "
                                               "pod.spec.nodeSelector[{0}] = {2}",
                                               key, value, present->second));
  }
  for (const api::Toleration& one : scheduling.tolerations)
    if (std::find(spec.tolerations.begin(), spec.tolerations.end(), one) == spec.tolerations.end())
      spec.tolerations.push_back(one);
  return ok();
}

}  // namespace

Status admit_runtime_class(const PluginContext&, Attributes& attributes) {
  api::Pod* pod = new_pod(attributes);
  if (pod == nullptr || !pod->spec.runtimeClassName) return ok();
  TRY_ASSIGN(client::Ref<api::RuntimeClass> found, runtime_class(attributes, pod->spec));
  if (found->overhead) {
    const auto& fixed = found->overhead->podFixed;
    if (!pod->spec.overhead.empty() && pod->spec.overhead != fixed)
      return forbidden(attributes, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
    pod->spec.overhead = fixed;
  }
  if (found->scheduling) TRY(join_scheduling(attributes, *found->scheduling, pod->spec));
  return ok();
}

Status check_runtime_class(const PluginContext&, const Attributes& attributes) {
  const api::Pod* pod = new_pod(attributes);
  if (pod == nullptr || pod->spec.overhead.empty()) return ok();
  TRY_ASSIGN(client::Ref<api::RuntimeClass> found, runtime_class(attributes, pod->spec));
  if (!found || !found->overhead)
    return forbidden(attributes, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
  if (pod->spec.overhead != found->overhead->podFixed)
    return forbidden(attributes, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
  return ok();
}

}  // namespace skiff::registry
