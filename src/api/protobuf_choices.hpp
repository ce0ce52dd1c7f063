#pragma once
// Fields of a JSONSchemaProps that are one thing or another in JSON, and a message with both in protobuf. The schema
// marks their numbers: "24array" is JSONSchemaPropsOrArray, "30bool" ...OrBool, "32strings" ...OrStringArray.

#include <charconv>
#include <string_view>

#include "api/descriptor.hpp"

namespace skiff::api {

enum class SchemaChoice { None, Array, Bool, Strings };

inline SchemaChoice choice_of(const FieldInfo& field) {
  std::string_view path = field.proto;
  if (path.ends_with("array")) return SchemaChoice::Array;
  if (path.ends_with("bool")) return SchemaChoice::Bool;
  return path.ends_with("strings") ? SchemaChoice::Strings : SchemaChoice::None;
}

/// The field's number without its mark.
inline std::string_view number_of(const FieldInfo& field) {
  std::string_view path = field.proto;
  return path.substr(0, path.find_last_of("0123456789") + 1);
}

}  // namespace skiff::api
