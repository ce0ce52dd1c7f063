#include "registry/kinds/pod_resize.hpp"

#include <algorithm>

#include "api/pods.hpp"

namespace skiff::registry {
namespace {

using api::Container;
using Amounts = std::map<std::string, api::Quantity>;

void take_resources(std::vector<Container>& to, const std::vector<Container>& from) {
  for (Container& container : to)
    for (const Container& wanted : from)
      if (wanted.name == container.name) {
        container.resources = wanted.resources;
        container.resizePolicy = wanted.resizePolicy;
      }
}

bool lost_any(const Amounts& next, const Amounts& old) {
  return std::any_of(old.begin(), old.end(), [&](const auto& entry) { return !next.contains(entry.first); });
}

void check_memory_limit(const Container& next, const Container& old, const Path& path, FieldErrors& errors) {
  auto policy = std::find_if(next.resizePolicy.begin(), next.resizePolicy.end(),
                             [](const api::ContainerResizePolicy& one) { return one.resourceName == "memory"; });
  if (policy != next.resizePolicy.end() && policy->restartPolicy == "RestartContainer") return;
  auto now = next.resources.limits.find("memory"), before = old.resources.limits.find("memory");
  if (now == next.resources.limits.end()) return;
  if (before == old.resources.limits.end())
    errors.forbidden(path.key("limits", "memory"), "memory limits cannot be added unless resizePolicy is RestartContainer");
}

// All but amounts of cpu and memory, which are as in `old`.
Container without_compute(Container container, const Container& old) {
  auto restore = [](Amounts& amounts, const Amounts& before) {
    for (const char* resource : {"cpu", "memory"}) {
      amounts.erase(resource);
      if (auto amount = before.find(resource); amount != before.end()) amounts[resource] = amount->second;
    }
  };
  restore(container.resources.limits, old.resources.limits);
  restore(container.resources.requests, old.resources.requests);
  return container;
}

bool has_pod_level_resources(const api::Pod& pod) {
  return pod.spec.resources && !(pod.spec.resources->limits.empty() && pod.spec.resources->requests.empty());
}

}  // namespace

void keep_all_but_resources(api::Pod& next, const api::Pod& old) {
  api::Pod changed = old;
  changed.metadata.managedFields = next.metadata.managedFields;
  take_resources(changed.spec.containers, next.spec.containers);
  take_resources(changed.spec.initContainers, next.spec.initContainers);
  next = std::move(changed);
}

void validate_resize(const api::Pod& pod, const api::Pod& old, FieldErrors& errors) {
  if (has_pod_level_resources(old) || has_pod_level_resources(pod))
    return errors.forbidden("", "pods with pod-level resources cannot be resized");
  if (old.metadata.annotations.contains("kubernetes.io/config.mirror"))
    return errors.forbidden("", "static pods cannot be resized");
  if (old.spec.os && old.spec.os->name == "windows") return errors.forbidden("", "windows pods cannot be resized");
  const Path spec("spec");
  const std::string qos = api::qos_class(pod);
  if (qos != old.status.qosClass)
    errors.invalid(spec, api::quote(qos), "Pod QOS Class may not change as a result of resizing");
  auto check = [&](const std::vector<Container>& next, const std::vector<Container>& before, const char* list) {
    for (size_t i = 0; i < next.size(); ++i) {
      bool init = std::string_view(list) == "initContainers";
      if (init && !api::is_sidecar(next[i])) {
        if (!(next[i] == before[i]))
          errors.forbidden(spec, "resources for non-sidecar init containers are immutable");
        continue;
      }
      const Path container = spec.child(list, i);
      const Path at = container.child("resources");
      if (lost_any(next[i].resources.requests, before[i].resources.requests))
        errors.forbidden(at.child("requests"), "resource requests cannot be removed");
      if (lost_any(next[i].resources.limits, before[i].resources.limits))
        errors.forbidden(at.child("limits"), "resource limits cannot be removed");
      check_memory_limit(next[i], before[i], at, errors);
      if (!(without_compute(next[i], before[i]) == before[i]))
        errors.forbidden(spec, init ? "only cpu and memory resources for sidecar containers are mutable"
                                    : "only cpu and memory resources are mutable");
    }
  };
  check(pod.spec.initContainers, old.spec.initContainers, "initContainers");
  check(pod.spec.containers, old.spec.containers, "containers");
}

}  // namespace skiff::registry
