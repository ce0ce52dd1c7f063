// Resources of running containers that change in place.

#include <algorithm>

#include "base/log.hpp"
#include "kubelet/container_spec.hpp"
#include "kubelet/pod_runtime.hpp"

namespace skiff::kubelet {
namespace {

constexpr Duration kResizeRetry = 5s;

const api::Quantity* amount(const std::map<std::string, api::Quantity>& resources, const std::string& name) {
  auto found = resources.find(name);
  return found == resources.end() ? nullptr : &found->second;
}

bool differs(const api::ResourceRequirements& a, const api::ResourceRequirements& b, const std::string& name) {
  auto same = [](const api::Quantity* x, const api::Quantity* y) { return (x == nullptr) == (y == nullptr) && (x == nullptr || *x == *y); };
  return !same(amount(a.limits, name), amount(b.limits, name)) ||
         !same(amount(a.requests, name), amount(b.requests, name));
}

Problem pending(const Shortage& shortage) {
  if (shortage.never)
    return {"Infeasible", fmt::format("Node didn't have enough capacity: {}, requested: {}, capacity: {}",
                                      shortage.resource, shortage.requested, shortage.capacity)};
  return {"Deferred", fmt::format("Node didn't have enough resource: {}, requested: {}, used: {}, capacity: {}",
                                  shortage.resource, shortage.requested, shortage.used, shortage.capacity)};
}

}  // namespace

bool wants_resize(const api::Container& container, const ContainerRecord& record) {
  return record.running() && record.resources &&
         (differs(*record.resources, container.resources, "cpu") ||
          differs(*record.resources, container.resources, "memory"));
}

bool resize_restarts(const api::Container& container, const api::ResourceRequirements& now) {
  return std::ranges::any_of(container.resizePolicy, [&](const api::ContainerResizePolicy& policy) {
    return policy.restartPolicy == "RestartContainer" && differs(now, container.resources, policy.resourceName);
  });
}

Status PodRuntime::resize_container(const api::Pod& pod, const api::Container& container, ContainerRecord& record) {
  const std::string& group = record.current->container.cgroup;
  TRY(system_.cgroups.resize(pod, container, group));
  record.resources = container.resources;
  return ok();
}

void PodRuntime::apply_resize(const api::Pod& pod, PodState& state, Alarm& alarm) {
  std::vector<const api::Container*> changed;
  for (const auto* containers : {&pod.spec.initContainers, &pod.spec.containers})
    for (const api::Container& container : *containers)
      if (const ContainerRecord* record = find_record(state, container.name); record != nullptr && wants_resize(container, *record))
        changed.push_back(&container);
  state.resize_stuck.reset();
  if (changed.empty()) return state.resize_pending.reset();
  if (std::optional<Shortage> shortage = system_.room.take(pod.metadata.uid, reservation(pod))) {
    state.resize_pending = pending(*shortage);
    if (!shortage->never) alarm.at(system_.clock.now() + kResizeRetry);
    return;
  }
  state.resize_pending.reset();
  for (const api::Container* container : changed) {
    ContainerRecord& record = state.containers[container->name];
    if (resize_restarts(*container, *record.resources)) {
      record.restart_wanted = true;
      Duration grace = std::chrono::seconds(pod.spec.terminationGracePeriodSeconds.value_or(30));
      (void)stop_container({pod, state, *container, grace,
                            fmt::format("Container {} resize requires restart", container->name), alarm},
                           record);
      continue;
    }
    if (Status resized = resize_container(pod, *container, record); !resized.ok()) {
      state.resize_stuck = Problem{"Error", resized.error().message()};
      alarm.at(system_.clock.now() + kResizeRetry);
    }
  }
}

}  // namespace skiff::kubelet
