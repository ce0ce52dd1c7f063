#include "scheduler/pod_info.hpp"

#include <algorithm>

#include "api/pods.hpp"
#include "api/volumes.hpp"

namespace skiff::scheduler {
namespace {

// What a container that asks for nothing counts as when nodes are compared
// (schedutil.DefaultMilliCPURequest).
constexpr std::int64_t kDefaultMilliCpu = 100;
constexpr std::int64_t kDefaultMemory = 200LL * 1024 * 1024;

std::vector<HostPort> host_ports(const api::Pod& pod) {
  std::vector<HostPort> ports;
  auto add = [&](const api::Container& container) {
    for (const api::ContainerPort& port : container.ports) {
      if (port.hostPort == 0) continue;
      ports.push_back({port.hostIP.empty() ? "0.0.0.0" : port.hostIP,
                       port.protocol.empty() ? "TCP" : port.protocol, port.hostPort});
    }
  };
  for (const api::Container& container : pod.spec.containers) add(container);
  for (const api::Container& container : pod.spec.initContainers)
    if (api::is_sidecar(container)) add(container);
  return ports;
}

Resources scored_requests(const api::Pod& pod, const Resources& requests) {
  Resources scored = requests;
  for (const api::Container& container : pod.spec.containers) {
    if (!container.resources.requests.contains("cpu")) scored.milli_cpu += kDefaultMilliCpu;
    if (!container.resources.requests.contains("memory")) scored.memory += kDefaultMemory;
  }
  return scored;
}

// matchLabelKeys narrows a selector to pods that share the incoming pod's values.
void match_label_keys(api::LabelSelector& selector, const std::vector<std::string>& keys, const char* op,
                      const api::Pod& pod) {
  for (const std::string& key : keys) {
    auto label = pod.metadata.labels.find(key);
    if (label == pod.metadata.labels.end()) continue;
    api::LabelSelectorRequirement& requirement = selector.matchExpressions.emplace_back();
    requirement.key = key;
    requirement.operator_ = op;
    requirement.values = {label->second};
  }
}

api::Selector selector_or_nothing(const api::LabelSelector& selector) {
  Result<api::Selector> parsed = api::Selector::from(selector);
  return parsed.ok() ? std::move(parsed).value() : api::Selector::nothing();
}

SpreadConstraint spread_constraint(const api::TopologySpreadConstraint& constraint, const api::Pod& pod) {
  api::LabelSelector selector = constraint.labelSelector ? *constraint.labelSelector : api::LabelSelector();
  match_label_keys(selector, constraint.matchLabelKeys, "In", pod);
  return {.max_skew = constraint.maxSkew,
          .min_domains = constraint.minDomains.value_or(1),
          .topology_key = constraint.topologyKey,
          .selector = constraint.labelSelector ? selector_or_nothing(selector) : api::Selector::nothing(),
          .honor_affinity = constraint.nodeAffinityPolicy != "Ignore",
          .honor_taints = constraint.nodeTaintsPolicy == "Honor"};
}

}  // namespace

Resources Resources::from(const std::map<std::string, api::Quantity>& list) {
  Resources resources;
  for (const auto& [name, quantity] : list) {
    if (name == "cpu")
      resources.milli_cpu = quantity.milli();
    else if (name == "memory")
      resources.memory = quantity.value();
    else if (name == "ephemeral-storage")
      resources.ephemeral_storage = quantity.value();
    else if (name != "pods")
      resources.others[name] = quantity.value();
  }
  return resources;
}

void Resources::add(const Resources& more) {
  milli_cpu += more.milli_cpu;
  memory += more.memory;
  ephemeral_storage += more.ephemeral_storage;
  for (const auto& [name, amount] : more.others) others[name] += amount;
}

void Resources::subtract(const Resources& less) {
  milli_cpu -= less.milli_cpu;
  memory -= less.memory;
  ephemeral_storage -= less.ephemeral_storage;
  for (const auto& [name, amount] : less.others) others[name] -= amount;
}

bool collide(const HostPort& a, const HostPort& b) {
  if (a.port != b.port || a.protocol != b.protocol) return false;
  return a.address == b.address || a.address == "0.0.0.0" || b.address == "0.0.0.0";
}

AffinityTerm::AffinityTerm(const api::PodAffinityTerm& term, const api::Pod& pod)
    : topology_key(term.topologyKey) {
  if (term.labelSelector) {
    api::LabelSelector merged = *term.labelSelector;
    match_label_keys(merged, term.matchLabelKeys, "In", pod);
    match_label_keys(merged, term.mismatchLabelKeys, "NotIn", pod);
    selector = selector_or_nothing(merged);
  }
  namespaces.insert(term.namespaces.begin(), term.namespaces.end());
  // Without either it means the pod's own; an empty selector means all.
  if (term.namespaceSelector) namespace_selector = selector_or_nothing(*term.namespaceSelector);
  else if (namespaces.empty()) namespaces.insert(pod.metadata.namespace_);
}

bool AffinityTerm::matches(const std::string& namespace_, const api::Labels& labels,
                           const NamespaceLabels& known) const {
  if (!selector.matches(labels)) return false;
  if (namespaces.contains(namespace_)) return true;
  if (!namespace_selector) return false;
  auto found = known.find(namespace_);
  return namespace_selector->matches(found == known.end() ? api::Labels() : found->second);
}

PodInfo::PodInfo(client::Ref<api::Pod> the_pod) : pod(std::move(the_pod)) {
  requests = Resources::from(api::pod_requests(*pod));
  scored = scored_requests(*pod, requests);
  ports = host_ports(*pod);
  if (const api::OwnerReference* owner = client::controller_of(pod->metadata)) owner_uid = owner->uid;
  for (const api::UsedClaim& used : api::used_claims(*pod)) claims.push_back({pod->metadata.namespace_, used.name});
  priority = pod->spec.priority.value_or(0);
  terminating = static_cast<bool>(pod->metadata.deletionTimestamp);
  for (const api::TopologySpreadConstraint& constraint : pod->spec.topologySpreadConstraints)
    (constraint.whenUnsatisfiable == "DoNotSchedule" ? hard_spread : soft_spread)
        .push_back(spread_constraint(constraint, *pod));
  if (!pod->spec.affinity) return;
  if (const auto& pods = pod->spec.affinity->podAffinity) {
    for (const auto& term : pods->requiredDuringSchedulingIgnoredDuringExecution)
      affinity.emplace_back(term, *pod);
    for (const auto& one : pods->preferredDuringSchedulingIgnoredDuringExecution)
      preferred_affinity.push_back({one.weight, AffinityTerm(one.podAffinityTerm, *pod)});
  }
  if (const auto& pods = pod->spec.affinity->podAntiAffinity) {
    for (const auto& term : pods->requiredDuringSchedulingIgnoredDuringExecution)
      anti_affinity.emplace_back(term, *pod);
    for (const auto& one : pods->preferredDuringSchedulingIgnoredDuringExecution)
      preferred_anti_affinity.push_back({one.weight, AffinityTerm(one.podAffinityTerm, *pod)});
  }
}

}  // namespace skiff::scheduler
