#pragma once
// How values merge, as server-side apply asks it of any schema: built-in types by their descriptors, custom resources
// by their structural schemas, and whatever has no schema.

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

#include "api/descriptor.hpp"

namespace skiff::api {

enum class MergeRule {
  Leaf,    // replaced whole: scalars, atomic lists, maps and structs
  Set,     // a list of scalars, each its own key
  Keyed,   // a list of structs known by some of their fields
  Fields,  // a struct or map, merged field by field
};

/// The schema of one place in a document. Cheap to copy; refers to descriptors or to a schema document that outlives it.
class MergeSchema {
 public:
  /// Nothing is known: objects merge by field, lists are atomic (for custom resources without a schema).
  MergeSchema() = default;
  static MergeSchema of(const TypeInfo& type);
  /// A custom resource's object; `schema` is its openAPIV3Schema, null when it has none.
  static MergeSchema custom(const nlohmann::json* schema);

  MergeRule rule(const nlohmann::json& value) const;
  /// Of a Set's or Keyed list's elements.
  MergeSchema element() const;
  /// Of a struct's field or a map's value.
  MergeSchema member(const std::string& name) const;
  /// Whether `name` is a field of a struct here, rather than a map's key.
  bool declares(const std::string& name) const;
  /// Whether a member called `name` may stand here.
  bool allows(const std::string& name) const;

  struct Key {
    std::string name;
    std::string fallback;  // JSON; empty when there is none
  };
  /// Of a Keyed list, by name.
  std::vector<Key> keys() const;
  /// "expected list, got &{...}" when `value` is of another shape than the schema's; empty when it fits.
  std::string mismatch(const nlohmann::json& value) const;

 private:
  enum class Wants { Anything, Text, Number, Truth, List, Map };
  static MergeSchema of_field(const FieldInfo& field);
  static MergeSchema of_document(const nlohmann::json* schema);
  bool is_list() const { return field_ && !inside_ && field_->shape == Shape::List; }
  bool is_map() const { return field_ && !inside_ && field_->shape == Shape::Map; }
  bool preserves_unknown() const;
  MergeRule document_rule(const nlohmann::json& value) const;
  Wants wants() const;

  const TypeInfo* type_ = nullptr;            // a struct
  const FieldInfo* field_ = nullptr;          // a list, map or scalar of this field
  const nlohmann::json* document_ = nullptr;  // an OpenAPI schema
  bool inside_ = false;                       // field_: one element, not the container
  bool granular_ = false;                     // type_: the field overrules the type
  bool root_ = false;                         // document_: a whole object, with apiVersion, kind and metadata
};

}  // namespace skiff::api
