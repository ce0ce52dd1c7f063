#pragma once

#include <nlohmann/json_fwd.hpp>

#include <memory>

#include "registry/custom_version.hpp"
#include "registry/resource.hpp"

namespace skiff::registry {

/// The rules of objects that are stored in `version` (apiextensions-apiserver/pkg/registry/customresource).
/// `terminating`: the definition is being deleted, so nothing new may be created.
Strategy custom_strategy(std::shared_ptr<const CustomVersion> version, bool terminating);

/// What the version's schema and its scale say of an object of it. `before` may be null: there was none.
void validate_document(const CustomVersion& version, const nlohmann::json& document, const nlohmann::json* before,
                       api::FieldErrors& errors);

/// autoscaling/v1 Scale of a custom object, by the paths of its kind. NotFound: the kind has no scale, or the object
/// no replicas.
Result<client::AnyRef> custom_scale(const api::KindInfo& kind, const client::AnyRef& object);
/// Writes spec.replicas of a Scale into the object.
Status set_custom_replicas(const api::KindInfo& kind, api::CustomObject& object, std::int32_t replicas);

}  // namespace skiff::registry
