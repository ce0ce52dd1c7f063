#pragma once
// The status of a pod as the kubelet reports it. Pure.

#include "kubelet/pod_state.hpp"

namespace skiff::kubelet {

struct StatusInput {
  const api::Pod& pod;
  const PodState& state;
  std::vector<std::string> host_ips;
  api::Time now;
  bool terminated = false;  // nothing of it will run again (deleted or finished)
};

/// The next status: kubelet-owned fields are made anew, conditions of others are kept, transition times move
/// only with a change.
api::PodStatus make_status(const StatusInput& input);

/// "Pending", "Running", "Succeeded" or "Failed" from the container statuses (the kubelet's getPhase).
std::string phase_of(const api::Pod& pod, const api::PodStatus& status, bool terminated);

}  // namespace skiff::kubelet
