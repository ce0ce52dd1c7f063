#include "api/pods.hpp"

#include <algorithm>

namespace skiff::api {

const PodCondition* find_condition(const PodStatus& status, std::string_view type) {
  for (const PodCondition& condition : status.conditions)
    if (condition.type == type) return &condition;
  return nullptr;
}

bool set_condition(PodStatus& status, PodCondition condition) {
  for (PodCondition& known : status.conditions) {
    if (known.type != condition.type) continue;
    if (known.status == condition.status) condition.lastTransitionTime = known.lastTransitionTime;
    if (known == condition) return false;
    known = std::move(condition);
    return true;
  }
  status.conditions.push_back(std::move(condition));
  return true;
}

bool is_ready(const Pod& pod) {
  const PodCondition* ready = find_condition(pod.status, "Ready");
  return ready && ready->status == "True";
}

bool is_available(const Pod& pod, std::int32_t min_ready_seconds, Time now) {
  if (!is_ready(pod)) return false;
  if (min_ready_seconds == 0) return true;
  Time since = find_condition(pod.status, "Ready")->lastTransitionTime;
  return since && since.unix_seconds() + min_ready_seconds <= now.unix_seconds();
}

bool is_finished(const Pod& pod) { return pod.status.phase == "Succeeded" || pod.status.phase == "Failed"; }

bool is_active(const Pod& pod) { return !is_finished(pod) && !pod.metadata.deletionTimestamp; }

namespace {

constexpr const char* kQosResources[] = {"cpu", "memory"};

bool names_any(const ResourceList& list) {
  return std::any_of(std::begin(kQosResources), std::end(kQosResources), [&](const char* resource) {
    auto found = list.find(resource);
    return found != list.end() && !found->second.zero();
  });
}

bool limits_equal_requests(const ResourceRequirements& resources) {
  return std::all_of(std::begin(kQosResources), std::end(kQosResources), [&](const char* resource) {
    auto limit = resources.limits.find(resource), request = resources.requests.find(resource);
    if (limit == resources.limits.end() || limit->second.zero()) return false;
    return request == resources.requests.end() || request->second == limit->second;
  });
}

void add(ResourceList& sum, const ResourceList& more) {
  for (const auto& [resource, quantity] : more) {
    auto [entry, fresh] = sum.try_emplace(resource, quantity);
    if (!fresh) entry->second = entry->second + quantity;
  }
}

void raise(ResourceList& to, const ResourceList& least) {
  for (const auto& [resource, quantity] : least) {
    auto [entry, fresh] = to.try_emplace(resource, quantity);
    if (!fresh && entry->second < quantity) entry->second = quantity;
  }
}

}  // namespace

std::string qos_class(const Pod& pod) {
  std::vector<const ResourceRequirements*> all;
  if (pod.spec.resources) {
    all.push_back(pod.spec.resources.get());
  } else {
    for (const Container& container : pod.spec.initContainers) all.push_back(&container.resources);
    for (const Container& container : pod.spec.containers) all.push_back(&container.resources);
  }
  bool none = std::none_of(all.begin(), all.end(), [](const ResourceRequirements* one) {
    return names_any(one->requests) || names_any(one->limits);
  });
  if (none) return "BestEffort";
  bool equal = std::all_of(all.begin(), all.end(), [](const ResourceRequirements* one) {
    return limits_equal_requests(*one);
  });
  return equal ? "Guaranteed" : "Burstable";
}

bool is_sidecar(const Container& container) { return container.restartPolicy == "Always"; }

namespace {

using Amounts = std::map<std::string, Quantity> ResourceRequirements::*;

// The larger of what the containers use together and what each init container needs beside the sidecars before it.
ResourceList pod_total(const Pod& pod, Amounts which) {
  ResourceList running, sidecars, peak;
  for (const Container& container : pod.spec.containers) add(running, container.resources.*which);
  for (const Container& container : pod.spec.initContainers) {
    const ResourceList& own = container.resources.*which;
    if (is_sidecar(container)) {
      add(running, own);
      add(sidecars, own);
      raise(peak, sidecars);
    } else {
      ResourceList during = sidecars;
      add(during, own);
      raise(peak, during);
    }
  }
  raise(running, peak);
  if (pod.spec.resources)
    for (const auto& [resource, quantity] : pod.spec.resources.get()->*which) running[resource] = quantity;
  return running;
}

}  // namespace

ResourceList pod_requests(const Pod& pod) {
  ResourceList total = pod_total(pod, &ResourceRequirements::requests);
  add(total, pod.spec.overhead);
  return total;
}

ResourceList limits_of_pod(const Pod& pod) {
  ResourceList total = pod_total(pod, &ResourceRequirements::limits);
  for (const auto& [resource, quantity] : pod.spec.overhead)
    if (auto limit = total.find(resource); limit != total.end()) limit->second = limit->second + quantity;
  return total;
}

}  // namespace skiff::api
