#include "api/gen/core.hpp"
#include "registry/admission_plugins.hpp"

namespace skiff::registry {
namespace {

Status check_deletion(const Attributes& attributes) {
  if (attributes.resource.kind != &api::kind_of<api::Namespace>()) return ok();
  for (const char* immortal : {"default", "kube-system", "kube-public"})
    if (attributes.key.name == immortal) return forbidden(attributes, "this namespace may not be deleted");
  return ok();
}

Error terminating(const Attributes& attributes) {
  const std::string& namespace_ = attributes.key.namespace_;
  auto detail = std::make_shared<api::StatusDetail>();
  detail->name = attributes.name();
  detail->group = attributes.resource.kind->group;
  detail->kind = attributes.resource.kind->plural;
  detail->causes.push_back(
      {"NamespaceTerminating", fmt::format("namespace {} is being terminated", namespace_), "metadata.namespace"});
  return forbidden(attributes, fmt::format("unable to create new content in namespace {} because it is being terminated",
                                           namespace_))
      .with(std::move(detail));
}

}  // namespace

Status check_namespace(const PluginContext& context, const Attributes& attributes) {
  if (attributes.operation == Operation::Delete) return check_deletion(attributes);
  // What a subresource is created for is in a namespace already, or will be missed anyway.
  bool enters = attributes.operation == Operation::Create && attributes.subresource.empty() &&
                attributes.resource.kind->namespaced && attributes.resource.strategy.stored;
  if (!enters) return ok();
  const Resource& namespaces = context.registry.of(api::kind_of<api::Namespace>());
  TRY_ASSIGN(Object object, context.registry.get(namespaces, {"", attributes.key.namespace_}));
  if (object.metadata()->deletionTimestamp) return terminating(attributes);
  return ok();
}

}  // namespace skiff::registry
