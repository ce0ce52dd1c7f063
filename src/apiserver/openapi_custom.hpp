#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

#include "registry/custom_version.hpp"

namespace skiff::apiserver {

/// The published schema of a custom resource, without metadata, apiVersion and kind. Swagger 2.0 cannot say all that
/// OpenAPI 3.0 can: what it has no words for is left out (apiextensions-apiserver/pkg/controller/openapi/builder).
nlohmann::ordered_json custom_schema(const registry::CustomVersion& version, bool v3);

/// Changes whenever the published schema does.
std::string schema_fingerprint(const registry::CustomVersion& version);

}  // namespace skiff::apiserver
