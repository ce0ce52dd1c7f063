#pragma once
// The resize subresource of pods: other amounts of cpu and memory for containers that may be running.

#include "api/gen/pod.hpp"
#include "registry/kinds/field_checks.hpp"

namespace skiff::registry {

/// `next` becomes `old` with the resources and resize policies that `next` asks for, container by container.
void keep_all_but_resources(api::Pod& next, const api::Pod& old);
void validate_resize(const api::Pod& pod, const api::Pod& old, FieldErrors& errors);

}  // namespace skiff::registry
