#pragma once

#include "registry/registry.hpp"

namespace skiff::registry {

/// Encodes `draft` and performs one store operation on it; on success the draft has become the stored object.
/// Code::Conflict, AlreadyExists and NotFound are the store's own, without the API's words.
Result<Object> write_draft(store::Store& store, const Resource& resource, Draft draft, store::Write::Kind kind,
                           std::optional<store::Revision> expect);

/// What a dry run answers: the object as it would be stored, without a revision of its own.
Object unwritten(const Draft& draft, const std::string& resource_version);

/// The objects of a kind that is made when asked for.
std::vector<Object> made(const Resource& resource);

/// Conflict when `wanted` names another UID or resourceVersion than the object has.
Status check_preconditions(const Resource& resource, const api::ObjectMeta& wanted, const api::ObjectMeta& current);

/// Whether something still holds an object whose deletion has begun.
bool is_held(const Resource& resource, const Draft& draft);

/// What `resource`'s /scale shows of `object`; null when it has none.
AnyRef scale_of(const Resource& resource, const AnyRef& object);
/// The count that a Scale wishes, set in the object itself. NotFound when it has no scale.
Status set_replicas(const Resource& resource, Draft& object, std::int32_t replicas);

/// How often a lost compare-and-swap is tried again.
inline constexpr int kMaxAttempts = 64;

}  // namespace skiff::registry
