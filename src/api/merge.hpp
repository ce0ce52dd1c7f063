#pragma once
// Structured merge of documents (sigs.k8s.io/structured-merge-diff/typed): what server-side apply does to values.

#include <nlohmann/json_fwd.hpp>

#include "api/field_changes.hpp"
#include "api/field_set.hpp"
#include "api/merge_schema.hpp"

namespace skiff::api {

/// The fields that somebody who sends `value` states.
FieldSet fields_of(const nlohmann::json& value, const MergeSchema& schema);

/// `live` with what `applied` says: leaves replaced, lists merged in an order that keeps to both.
nlohmann::json merged(const nlohmann::json& live, const nlohmann::json& applied, const MergeSchema& schema);

/// `value` without the fields, keys and elements in `remove`.
nlohmann::json without_fields(const nlohmann::json& value, const FieldSet& remove, const MergeSchema& schema);

/// `set` and every struct field on the way to its members.
FieldSet with_named_fields(const FieldSet& set, const MergeSchema& schema);

/// What differs; see compare_objects for typed objects.
FieldChanges compare_documents(const nlohmann::json& old, const nlohmann::json& next, const MergeSchema& schema);

/// Every way in which `value` is not of `schema` (".spec.x: field not declared in schema", duplicate and missing keys).
std::vector<std::string> schema_problems(const nlohmann::json& value, const MergeSchema& schema);

}  // namespace skiff::api
