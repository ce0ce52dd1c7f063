#pragma once
// Recovery: a pod's state from what runs on the node and what its status last said. Pure.

#include "kubelet/pod_state.hpp"

namespace skiff::kubelet {

/// `containers` are those of this pod's UID that the node still knows. A container the status calls running
/// that is nowhere to be found has ended (ContainerStatusUnknown), so that it is restarted or counted, never
/// run twice.
PodState adopt(const api::Pod& pod, const std::vector<runtime::ContainerStatus>& containers, WallTime now);

/// The run a container's labels describe.
Run run_of(const runtime::ContainerStatus& container);

}  // namespace skiff::kubelet
