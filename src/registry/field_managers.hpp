#pragma once
// metadata.managedFields of what is written: every create, update and patch says whose fields they are.

#include "api/managed_fields.hpp"
#include "registry/registry.hpp"

namespace skiff::registry {

/// The manager that `context` writes as. Appliers must have said who they are; others are "unknown" at worst.
api::ManagerId manager_of(const Resource& resource, const RequestContext& context, const std::string& subresource);

/// Top-level fields that writing through `subresource` does not change, so that nobody owns them by it.
std::vector<std::string_view> reset_fields(const Resource& resource, const std::string& subresource);

/// Gives the fields of a new object to its creator; before admission and the strategy fill in theirs.
void track_create(const Resource& resource, Draft& draft, const RequestContext& context, WallTime now);

/// The same for what an update of `old` changes. Managers that the client sends replace those of `old`, except through
/// a subresource; none means no change.
struct TrackedUpdate {
  Draft& next;
  const AnyRef& old;
  const std::string& subresource;
};
void track_update(const Resource& resource, const TrackedUpdate& update, const RequestContext& context, WallTime now);

}  // namespace skiff::registry
