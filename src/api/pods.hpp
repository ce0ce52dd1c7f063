#pragma once
// Questions that many rooms ask of pods (k8s.io/kubernetes/pkg/api/v1/pod and .../v1/resource).

#include <map>
#include <string>

#include "api/gen/pod.hpp"

namespace skiff::api {

using ResourceList = std::map<std::string, Quantity>;

/// Null when the pod has no condition of that type.
const PodCondition* find_condition(const PodStatus& status, std::string_view type);
/// Sets or replaces a condition; lastTransitionTime moves only when the status changes. True when anything changed.
bool set_condition(PodStatus& status, PodCondition condition);

bool is_ready(const Pod& pod);                    // condition Ready is True
bool is_available(const Pod& pod, std::int32_t min_ready_seconds, Time now);
bool is_finished(const Pod& pod);                 // phase Succeeded or Failed
/// Neither finished nor being deleted: what controllers count.
bool is_active(const Pod& pod);

/// Guaranteed, Burstable or BestEffort (ComputePodQOS).
std::string qos_class(const Pod& pod);

/// What the scheduler reserves: the larger of the containers' sum (with sidecars) and each init container's peak, plus
/// overhead; pod-level resources win (PodRequests).
ResourceList pod_requests(const Pod& pod);
/// The same of the limits; overhead counts where there is a limit (PodLimits).
ResourceList limits_of_pod(const Pod& pod);

/// A sidecar: an init container with restartPolicy Always.
bool is_sidecar(const Container& container);

}  // namespace skiff::api
