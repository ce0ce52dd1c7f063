#pragma once
// The admission plugins that are part of the server. Each leaves at once what is none of its business. They change
// attributes.object (admit_*) or refuse (check_*), which must not change anything.

#include "registry/admission.hpp"

namespace skiff::registry {

/// What plugins look up in the cluster.
struct PluginContext {
  const Registry& registry;
  std::int64_t toleration_seconds = 300;  // how long pods put up with a lost node, unless they say so themselves
};

// admission_namespaces.cpp
/// NamespaceLifecycle: a namespace must exist and not be going away for something to be created in it, and some
/// namespaces are never deleted.
Status check_namespace(const PluginContext& context, const Attributes& attributes);

// admission_pods.cpp
Status admit_service_account(const PluginContext& context, Attributes& attributes);
Status admit_priority(const PluginContext& context, Attributes& attributes);
Status admit_default_tolerations(const PluginContext& context, Attributes& attributes);
Status admit_runtime_class(const PluginContext& context, Attributes& attributes);
Status check_runtime_class(const PluginContext& context, const Attributes& attributes);

// admission_defaults.cpp
/// TaintNodesByCondition: a node gets no pods before somebody has seen it ready.
Status admit_node_taint(const PluginContext& context, Attributes& attributes);
Status admit_storage_class(const PluginContext& context, Attributes& attributes);
Status admit_ingress_class(const PluginContext& context, Attributes& attributes);
/// StorageObjectInUseProtection.
Status admit_storage_finalizers(const PluginContext& context, Attributes& attributes);
/// PersistentVolumeClaimResize.
Status check_claim_resize(const PluginContext& context, const Attributes& attributes);

// limit_ranger.cpp
Status admit_limit_ranges(const PluginContext& context, Attributes& attributes);
Status check_limit_ranges(const PluginContext& context, const Attributes& attributes);

// pod_security_admission.cpp
Status check_pod_security(const PluginContext& context, const Attributes& attributes);

/// The objects of a namespace's (or the cluster's) few: nothing is copied, and no lock held.
template <class T>
std::vector<client::Ref<T>> all_of(const PluginContext& context, const std::string& namespace_ = "") {
  std::vector<client::Ref<T>> all;
  Result<ListPage> page = context.registry.list(context.registry.of(api::kind_of<T>()), {.namespace_ = namespace_});
  if (!page.ok()) return all;  // a list of the newest state reads memory only
  for (const Object& object : page.value().items) all.push_back(object.any().template as<T>());
  return all;
}

}  // namespace skiff::registry
