#include "api/quota.hpp"

#include <algorithm>
#include <set>

#include "api/gen/service.hpp"
#include "api/gen/volume.hpp"
#include "base/encoding.hpp"

namespace skiff::api {
namespace {

constexpr const char* kCompute[] = {"cpu", "memory", "ephemeral-storage"};
constexpr const char* kDemanded[] = {"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"};
constexpr char kPerClass[] = ".storageclass.storage.k8s.io/";
constexpr char kPerAttributes[] = ".volumeattributesclass.storage.k8s.io/";

bool is_compute(std::string_view resource) {
  return std::any_of(std::begin(kCompute), std::end(kCompute), [&](const char* one) { return resource == one; });
}

bool is_extended(std::string_view resource) {
  return resource.find('/') != std::string_view::npos && resource.find("kubernetes.io/") == std::string_view::npos;
}

std::string count_of(const KindInfo& kind) {
  std::string resource = std::string("count/") + kind.plural;
  return *kind.group ? resource + "." + kind.group : resource;
}

// Kinds of core whose number has a name without "count/".
bool has_plain_name(const KindInfo& kind) {
  static constexpr std::string_view kNames[] = {"configmaps", "persistentvolumeclaims", "pods",    "replicationcontrollers",
                                                "resourcequotas", "secrets",            "services"};
  return *kind.group == '\0' && std::find(std::begin(kNames), std::end(kNames), kind.plural) != std::end(kNames);
}

// podComputeUsageHelper.
void add_compute(ResourceList& usage, const ResourceList& requests, const ResourceList& limits) {
  for (const auto& [resource, quantity] : requests) {
    bool huge = resource.starts_with("hugepages-");
    if (is_compute(resource) || huge) usage[resource] = usage["requests." + resource] = quantity;
    else if (is_extended(resource)) usage["requests." + resource] = quantity;
  }
  for (const auto& [resource, quantity] : limits)
    if (is_compute(resource)) usage["limits." + resource] = quantity;
}

bool counts_as_running(const Pod& pod, Time now) {
  if (is_finished(pod)) return false;
  const ObjectMeta& metadata = pod.metadata;
  // A pod whose node does not answer no longer counts once its time to stop is over.
  bool overdue = metadata.deletionTimestamp && metadata.deletionGracePeriodSeconds &&
                 now.unix_seconds() > metadata.deletionTimestamp.unix_seconds() + *metadata.deletionGracePeriodSeconds;
  return !overdue;
}

void add_pod(ResourceList& usage, const Pod& pod, Time now) {
  if (!counts_as_running(pod, now)) {
    usage.erase("pods");
    return;
  }
  add_compute(usage, pod_requests(pod), limits_of_pod(pod));
}

void add_service(ResourceList& usage, const Service& service) {
  const ServiceSpec& spec = service.spec;
  auto ports = static_cast<std::int64_t>(spec.ports.size());
  usage["services.nodeports"] = usage["services.loadbalancers"] = Quantity::of(0);
  if (spec.type == "NodePort") usage["services.nodeports"] = Quantity::of(ports);
  if (spec.type != "LoadBalancer") return;
  usage["services.loadbalancers"] = Quantity::of(1);
  if (!spec.allocateLoadBalancerNodePorts.value_or(true))
    ports = std::count_if(spec.ports.begin(), spec.ports.end(), [](const ServicePort& one) { return one.nodePort != 0; });
  usage["services.nodeports"] = Quantity::of(ports);
}

std::string storage_class_of(const PersistentVolumeClaim& claim) {
  auto annotated = claim.metadata.annotations.find("volume.beta.kubernetes.io/storage-class");
  return annotated != claim.metadata.annotations.end() ? annotated->second : claim.spec.storageClassName.value_or("");
}

void add_claim(ResourceList& usage, const PersistentVolumeClaim& claim) {
  std::string name = storage_class_of(claim);
  if (!name.empty()) usage[name + kPerClass + "persistentvolumeclaims"] = Quantity::of(1);
  auto request = claim.spec.resources.requests.find("storage");
  if (request == claim.spec.resources.requests.end()) return;
  Quantity size = request->second;
  auto allocated = claim.status.allocatedResources.find("storage");
  if (allocated != claim.status.allocatedResources.end() && size < allocated->second) size = allocated->second;
  usage["requests.storage"] = size;
  if (!name.empty()) usage[name + kPerClass + "requests.storage"] = size;
}

// ---- scopes

bool reaches_out(const PodAffinityTerm& term) { return !term.namespaces.empty() || term.namespaceSelector; }

template <class Affinity>
bool any_reaches_out(const Affinity& affinity) {
  if (!affinity) return false;
  const auto& required = affinity->requiredDuringSchedulingIgnoredDuringExecution;
  const auto& preferred = affinity->preferredDuringSchedulingIgnoredDuringExecution;
  return std::any_of(required.begin(), required.end(), reaches_out) ||
         std::any_of(preferred.begin(), preferred.end(), [](const auto& one) { return reaches_out(one.podAffinityTerm); });
}

bool crosses_namespaces(const PodSpec& spec) {
  return spec.affinity && (any_reaches_out(spec.affinity->podAffinity) || any_reaches_out(spec.affinity->podAntiAffinity));
}

// A scope of names (a class), which may be absent.
bool selects(const ScopedResourceSelectorRequirement& wanted, const std::string& name) {
  bool listed = std::find(wanted.values.begin(), wanted.values.end(), name) != wanted.values.end();
  if (wanted.operator_ == "In") return !name.empty() && listed;
  if (wanted.operator_ == "NotIn") return name.empty() || !listed;
  if (wanted.operator_ == "DoesNotExist") return name.empty();
  return !name.empty();
}

bool pod_in_scope(const ScopedResourceSelectorRequirement& wanted, const Pod& pod) {
  const std::string& scope = wanted.scopeName;
  if (scope == "PriorityClass") return selects(wanted, pod.spec.priorityClassName);
  bool inside = false;
  if (scope == "Terminating") inside = pod.spec.activeDeadlineSeconds.has_value();
  else if (scope == "NotTerminating") inside = !pod.spec.activeDeadlineSeconds.has_value();
  else if (scope == "BestEffort") inside = qos_class(pod) == "BestEffort";
  else if (scope == "NotBestEffort") inside = qos_class(pod) != "BestEffort";
  else if (scope == "CrossNamespacePodAffinity") inside = crosses_namespaces(pod.spec);
  return inside;
}

bool claim_in_scope(const ScopedResourceSelectorRequirement& wanted, const PersistentVolumeClaim& claim) {
  if (wanted.scopeName != "VolumeAttributesClass") return false;
  std::string name = claim.spec.volumeAttributesClassName.value_or("");
  if (name.empty()) name = claim.status.currentVolumeAttributesClassName;
  return selects(wanted, name);
}

bool in_scope(const ScopedResourceSelectorRequirement& wanted, const KindInfo& kind, const void* object) {
  if (&kind == &kind_of<Pod>()) return pod_in_scope(wanted, *static_cast<const Pod*>(object));
  if (&kind == &kind_of<PersistentVolumeClaim>())
    return claim_in_scope(wanted, *static_cast<const PersistentVolumeClaim*>(object));
  return false;
}

}  // namespace

ResourceList quota_usage(const KindInfo& kind, const void* object, Time now) {
  ResourceList usage;
  usage[count_of(kind)] = Quantity::of(1);
  if (has_plain_name(kind)) usage[kind.plural] = Quantity::of(1);
  if (&kind == &kind_of<Pod>()) add_pod(usage, *static_cast<const Pod*>(object), now);
  if (&kind == &kind_of<Service>()) add_service(usage, *static_cast<const Service*>(object));
  if (&kind == &kind_of<PersistentVolumeClaim>()) add_claim(usage, *static_cast<const PersistentVolumeClaim*>(object));
  return usage;
}

bool quota_counts(const KindInfo& kind, std::string_view resource) {
  if (resource == count_of(kind)) return true;
  if (has_plain_name(kind) && resource == kind.plural) return true;
  if (&kind == &kind_of<Service>()) return resource == "services.nodeports" || resource == "services.loadbalancers";
  if (&kind == &kind_of<PersistentVolumeClaim>())
    return resource == "requests.storage" || resource.find(kPerClass) != std::string_view::npos ||
           resource.find(kPerAttributes) != std::string_view::npos;
  if (&kind != &kind_of<Pod>()) return false;
  if (is_compute(resource) || resource.starts_with("hugepages-") || resource.starts_with("requests.hugepages-")) return true;
  if (resource.starts_with("limits.")) return is_compute(resource.substr(7));
  return resource.starts_with("requests.") && (is_compute(resource.substr(9)) || is_extended(resource.substr(9)));
}

bool quota_covers(const ResourceQuota& quota, const KindInfo& kind, const void* object) {
  for (const std::string& scope : quota.spec.scopes) {
    ScopedResourceSelectorRequirement wanted;
    wanted.scopeName = scope;
    wanted.operator_ = "Exists";
    if (!in_scope(wanted, kind, object)) return false;
  }
  if (!quota.spec.scopeSelector) return true;
  const auto& all = quota.spec.scopeSelector->matchExpressions;
  return std::all_of(all.begin(), all.end(), [&](const auto& wanted) { return in_scope(wanted, kind, object); });
}

std::string quota_demands(const Pod& pod, const ResourceList& hard) {
  std::map<std::string, std::set<std::string>> missing;
  ResourceList whole;
  if (pod.spec.resources) add_compute(whole, pod.spec.resources->requests, pod.spec.resources->limits);
  auto check = [&](const Container& container) {
    ResourceList stated = whole;
    add_compute(stated, container.resources.requests, container.resources.limits);
    for (const char* resource : kDemanded)
      if (hard.contains(resource) && !stated.contains(resource)) missing[resource].insert(container.name);
  };
  std::for_each(pod.spec.containers.begin(), pod.spec.containers.end(), check);
  std::for_each(pod.spec.initContainers.begin(), pod.spec.initContainers.end(), check);
  std::vector<std::string> parts;
  for (const auto& [resource, names] : missing)
    parts.push_back(fmt::format("{} for: {}", resource, join(std::vector<std::string>(names.begin(), names.end()), ",")));
  return parts.empty() ? "" : "must specify " + join(parts, "; ");
}

ResourceList masked(const ResourceList& list, const ResourceList& hard) {
  ResourceList kept;
  for (const auto& [resource, quantity] : list)
    if (hard.contains(resource)) kept.emplace(resource, quantity);
  return kept;
}

void add_to(ResourceList& sum, const ResourceList& more) {
  for (const auto& [resource, quantity] : more) {
    auto [entry, fresh] = sum.try_emplace(resource, quantity);
    if (!fresh) entry->second = entry->second + quantity;
  }
}

void subtract_from(ResourceList& sum, const ResourceList& less) {
  for (const auto& [resource, quantity] : less) {
    auto [entry, fresh] = sum.try_emplace(resource, Quantity::of(0));
    entry->second = entry->second - quantity;
  }
}

}  // namespace skiff::api
