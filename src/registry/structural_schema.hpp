#pragma once
// The structural schema of a custom resource, compiled once: what it drops, fills in and accepts. Built from
// the openAPIV3Schema of a CustomResourceDefinition (k8s.io/apiextensions-apiserver/pkg/apiserver/schema).

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/descriptor.hpp"
#include "base/error.hpp"

namespace re2 {
class RE2;
}

namespace skiff::registry {

struct SchemaNode {
  SchemaNode();
  SchemaNode(SchemaNode&&) noexcept;
  SchemaNode& operator=(SchemaNode&&) noexcept;
  ~SchemaNode();

  std::vector<std::string> types;  // none: anything; int-or-string has two
  std::string format;
  bool nullable = false;
  bool int_or_string = false;
  bool embedded_resource = false;
  bool preserve_unknown = false;
  bool exclusive_minimum = false;
  bool exclusive_maximum = false;
  bool unique_items = false;
  bool has_rules = false;          // x-kubernetes-validations, here or below

  std::map<std::string, SchemaNode, std::less<>> properties;
  std::unique_ptr<SchemaNode> additional;  // the schema of additionalProperties
  bool takes_additional = false;           // additionalProperties: true, or a schema
  bool refuses_additional = false;         // additionalProperties: false
  std::unique_ptr<SchemaNode> items;
  std::vector<SchemaNode> all_of, any_of, one_of;
  std::unique_ptr<SchemaNode> not_;
  std::vector<std::string> required;

  std::shared_ptr<const nlohmann::json> default_value;  // null: none
  std::shared_ptr<const nlohmann::json> enum_values;    // an array; null: none
  std::optional<double> minimum, maximum, multiple_of;
  std::optional<std::int64_t> min_length, max_length, min_items, max_items, min_properties, max_properties;
  std::string pattern;
  std::shared_ptr<const re2::RE2> regex;

  api::ListType list_type = api::ListType::Unset;
  std::vector<std::string> list_keys;
  bool map_atomic = false;

  // Whether anything in this subtree needs the walk that looks for it.
  bool defaults_below = false;
  bool lists_below = false;      // set or map lists
  bool embedded_below = false;
};

/// From the JSON of an openAPIV3Schema. Invalid: it is not one (a pattern that does not compile, "$ref", ...);
/// the finer rules for schemas are crd_schema_rules.hpp's.
Result<SchemaNode> compile_schema(const nlohmann::json& document);

/// Removes members that the schema does not know; their paths come back sorted ("spec.foo[0].bar"). At the root
/// and in embedded resources apiVersion, kind and metadata stay as they are.
std::vector<std::string> prune(nlohmann::json& object, const SchemaNode& root);

/// Fills in defaults, and removes nulls from fields that may not be null (or replaces them by the default).
void apply_schema_defaults(nlohmann::json& value, const SchemaNode& schema);

}  // namespace skiff::registry
