#pragma once
// pods/eviction: a deletion that PodDisruptionBudgets may refuse (pkg/registry/core/pod/storage/eviction.go).

#include "api/gen/policy.hpp"
#include "registry/registry.hpp"

namespace skiff::registry {

/// TooManyRequests: a budget does not allow it now. Internal: more than one budget selects the pod.
Status evict(Registry& registry, const Resource& pods, const client::ObjectKey& key, const api::Eviction& eviction,
             RequestContext& context, WallTime now);

}  // namespace skiff::registry
