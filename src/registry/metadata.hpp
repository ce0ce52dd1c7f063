#pragma once
// What every object's metadata must be, and what the system writes into it.

#include "registry/registry.hpp"

namespace skiff::registry {

/// Puts a new object where the request says: BadRequest when its metadata says otherwise.
Status place(const Resource& resource, const std::string& namespace_, api::ObjectMeta& metadata);
/// uid, creationTimestamp, generation; forgets what only the system may set (rest.FillObjectMetaSystemFields).
void begin_life(api::ObjectMeta& metadata, WallTime now, Random& random);
/// Copies from `old` what no update may change.
void keep_identity(api::ObjectMeta& next, const api::ObjectMeta& old);
/// ValidateObjectMeta and ValidateObjectMetaUpdate (`old` null on create).
void validate_metadata(const Resource& resource, const api::ObjectMeta& metadata, const api::ObjectMeta* old,
                       api::FieldErrors& errors);

}  // namespace skiff::registry
