#pragma once
// Whether a value is what a structural schema asks for, in the words of kube-apiserver
// (k8s.io/kube-openapi/pkg/validation and apiextensions-apiserver/pkg/apiserver/validation).

#include <nlohmann/json_fwd.hpp>

#include "api/status.hpp"
#include "registry/structural_schema.hpp"

namespace skiff::registry {

/// Reports what is wrong with `value`. What already stood in `old` (null on create) is not held against an update:
/// values that did not change may violate a schema that has become stricter.
void validate_value(const nlohmann::json& value, const nlohmann::json* old, const SchemaNode& schema,
                    api::FieldErrors& errors);

/// Lists of type set and map hold nothing twice; embedded resources have apiVersion, kind and well-formed metadata.
void validate_lists(const nlohmann::json& value, const SchemaNode& schema, api::FieldErrors& errors);
void validate_embedded(const nlohmann::json& value, const SchemaNode& schema, api::FieldErrors& errors);

/// A value as kube-apiserver prints it in "Invalid value: ...".
std::string printed(const nlohmann::json& value);

/// Whether `text` is of a format that OpenAPI or Kubernetes names; formats that nobody knows hold anything.
bool has_format(const std::string& format, const std::string& text);

}  // namespace skiff::registry
