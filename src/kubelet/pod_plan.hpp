#pragma once
// What to do next for a pod's containers. Pure: a function of what is wanted and what there is.

#include <string>
#include <vector>

#include "kubelet/pod_state.hpp"

namespace skiff::kubelet {

struct PodPlan {
  std::vector<const api::Container*> start;  // in this order, subject to backoff
  std::vector<const api::Container*> stop;   // sidecars of a pod whose work is done
  bool initialized = false;                  // every init container has done its part
  bool finished = false;                     // nothing runs, nothing will be started again
};

PodPlan plan_pod(const api::Pod& pod, const PodState& state);

/// Whether a container that ended with `exit_code` runs again under the pod's policy.
/// The first of the container's restart rules that fits; null: none.
const api::ContainerRestartRule* rule_for(const api::Container& container, int exit_code);
bool restarts(const api::Pod& pod, const api::Container& container, int exit_code);

/// Whether the container runs with other amounts of cpu or memory than its spec says.
bool wants_resize(const api::Container& container, const ContainerRecord& record);
/// Whether its resizePolicy has a resource that changes restart it.
bool resize_restarts(const api::Container& container, const api::ResourceRequirements& now);

const ContainerRecord* find_record(const PodState& state, const std::string& name);

}  // namespace skiff::kubelet
