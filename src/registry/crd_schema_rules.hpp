#pragma once
// What the schema of a CustomResourceDefinition must obey to be structural
// (apiextensions-apiserver/pkg/apiserver/schema/validation.go, pkg/apis/apiextensions/validation).

#include <nlohmann/json_fwd.hpp>

#include <string>

#include "api/status.hpp"

namespace skiff::registry {

/// Reports the problems of an openAPIV3Schema that stands at `path`. `has_status`: the version has a status
/// subresource, which limits what may stand at the root.
void validate_crd_schema(const nlohmann::json& schema, const std::string& path, bool has_status,
                         api::FieldErrors& errors);

/// The schema at a path such as ".spec.size", which must lead through properties; null when there is none.
const nlohmann::json* schema_at(const nlohmann::json& schema, const std::string& path);

}  // namespace skiff::registry
