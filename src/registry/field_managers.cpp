#include "registry/field_managers.hpp"

namespace skiff::registry {

api::ManagerId manager_of(const Resource& resource, const RequestContext& context, const std::string& subresource) {
  return {.name = context.field_manager.empty() ? "unknown" : context.field_manager,
          .api_version = context.api_version.empty() ? resource.kind->api_version() : context.api_version,
          .subresource = subresource,
          .applies = false};
}

std::vector<std::string_view> reset_fields(const Resource& resource, const std::string& subresource) {
  if (subresource != "status" && subresource != "approval") {
    if (resource.strategy.reset_status) return {"status"};
    return {};
  }
  std::vector<std::string_view> fields;
  for (const api::FieldInfo& field : resource.kind->type->fields) {
    std::string_view name = field.name;
    if (name.empty()) fields.emplace_back("spec");  // all that a custom resource is known to have
    else if (name != "metadata" && name != "status") fields.push_back(name);
  }
  return fields;
}

void track_create(const Resource& resource, Draft& draft, const RequestContext& context, WallTime now) {
  api::ObjectMeta& metadata = draft.metadata();
  api::ManagedFields managed;
  if (!metadata.managedFields.empty()) {
    Result<api::ManagedFields> sent = api::ManagedFields::decode(metadata.managedFields);
    if (sent.ok()) managed = std::move(sent).value();
  }
  const api::TypeInfo& type = *draft.kind->type;
  api::FieldChanges changes =
      api::compare_objects(type, type.ops->make().get(), draft.value.get(), reset_fields(resource, ""));
  Status tracked = managed.update(changes, manager_of(resource, context, ""), api::Time::from(now));
  metadata.managedFields.clear();
  if (tracked.ok()) metadata.managedFields = managed.encode();  // what cannot be read is not kept
}

void track_update(const Resource& resource, const TrackedUpdate& update, const RequestContext& context, WallTime now) {
  auto& entries = update.next.metadata().managedFields;
  const auto& old_entries = update.old.metadata().managedFields;
  if (update.subresource.empty() && api::is_reset(entries)) return entries.clear();
  api::ManagedFields managed;
  bool sent = update.subresource.empty() && !entries.empty() && entries != old_entries;
  Result<api::ManagedFields> read = api::ManagedFields::decode(sent ? entries : old_entries);
  if (sent && !read.ok()) read = api::ManagedFields::decode(old_entries);
  if (read.ok()) managed = std::move(read).value();
  if (managed.empty()) return entries.clear();  // its managers were dropped: only an apply begins anew
  api::FieldChanges changes =
      api::compare_objects(*update.next.kind->type, update.old.get(), update.next.value.get(),
                           reset_fields(resource, update.subresource));
  if (changes.empty() && !sent) {
    entries = old_entries;
    return;
  }
  Status tracked = managed.update(changes, manager_of(resource, context, update.subresource), api::Time::from(now));
  entries = tracked.ok() ? managed.encode() : old_entries;
}

}  // namespace skiff::registry
