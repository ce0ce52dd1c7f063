#pragma once
// The admission plugins that are part of the server, in kube-apiserver's order. Webhooks and policies will join here.

#include "registry/registry.hpp"

namespace skiff::registry {

/// Changes `draft` as the mutating plugins would and refuses what the validating ones refuse; before validation.
Status admit_create(const Registry& registry, const Resource& resource, Draft& draft, StrategyContext& context);
/// The namespace must exist and must not be going away (plugin NamespaceLifecycle).
Status admit_namespace(const Registry& registry, const Resource& resource, const api::ObjectMeta& metadata);
/// Some namespaces cannot be deleted.
Status admit_delete(const Resource& resource, const ObjectKey& key);

}  // namespace skiff::registry
