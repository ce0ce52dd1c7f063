#pragma once
// securityContext of pod and container, merged, in the runtime's words.

#include "kubelet/container_spec.hpp"

namespace skiff::kubelet {

/// Fills user, groups, capabilities, seccomp, no-new-privileges, masked paths and the read-only root. An
/// error's message is what the container waits with.
Status apply_security(const ContainerInput& input, runtime::ContainerSpec& spec);

}  // namespace skiff::kubelet
