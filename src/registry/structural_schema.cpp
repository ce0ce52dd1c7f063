#include "registry/structural_schema.hpp"

#include <re2/re2.h>

#include <nlohmann/json.hpp>

namespace skiff::registry {

SchemaNode::SchemaNode() = default;
SchemaNode::SchemaNode(SchemaNode&&) noexcept = default;
SchemaNode& SchemaNode::operator=(SchemaNode&&) noexcept = default;
SchemaNode::~SchemaNode() = default;

namespace {

using Json = nlohmann::json;

const Json* member(const Json& document, const char* name) {
  auto found = document.find(name);
  return found == document.end() || found->is_null() ? nullptr : &*found;
}

bool flag(const Json& document, const char* name) {
  const Json* value = member(document, name);
  return value && value->is_boolean() && value->get<bool>();
}

std::string text(const Json& document, const char* name) {
  const Json* value = member(document, name);
  return value && value->is_string() ? value->get<std::string>() : "";
}

std::optional<std::int64_t> count(const Json& document, const char* name) {
  const Json* value = member(document, name);
  if (!value || !value->is_number()) return std::nullopt;
  return value->get<std::int64_t>();
}

std::optional<double> number(const Json& document, const char* name) {
  const Json* value = member(document, name);
  if (!value || !value->is_number()) return std::nullopt;
  return value->get<double>();
}

std::vector<std::string> texts(const Json& document, const char* name) {
  std::vector<std::string> all;
  const Json* values = member(document, name);
  if (!values || !values->is_array()) return all;
  for (const Json& value : *values)
    if (value.is_string()) all.push_back(value.get<std::string>());
  return all;
}

Status compile_pattern(SchemaNode& node) {
  if (node.pattern.empty()) return ok();
  re2::RE2::Options options;
  options.set_log_errors(false);
  auto regex = std::make_shared<re2::RE2>(node.pattern, options);
  if (!regex->ok())
    return error(Code::Invalid, "must be a valid regular expression, but isn't: {}", regex->error());
  node.regex = std::move(regex);
  return ok();
}

void compile_scalars(const Json& document, SchemaNode& node) {
  if (std::string type = text(document, "type"); !type.empty()) node.types = {type};
  node.format = text(document, "format");
  node.nullable = flag(document, "nullable");
  node.int_or_string = flag(document, "x-kubernetes-int-or-string");
  if (node.int_or_string) node.types = {"integer", "string"};
  node.embedded_resource = flag(document, "x-kubernetes-embedded-resource");
  node.preserve_unknown = flag(document, "x-kubernetes-preserve-unknown-fields");
  node.exclusive_minimum = flag(document, "exclusiveMinimum");
  node.exclusive_maximum = flag(document, "exclusiveMaximum");
  node.unique_items = flag(document, "uniqueItems");
  const Json* rules = member(document, "x-kubernetes-validations");
  node.has_rules = rules && !rules->empty();
  node.required = texts(document, "required");
  node.minimum = number(document, "minimum");
  node.maximum = number(document, "maximum");
  node.multiple_of = number(document, "multipleOf");
  node.min_length = count(document, "minLength");
  node.max_length = count(document, "maxLength");
  node.min_items = count(document, "minItems");
  node.max_items = count(document, "maxItems");
  node.min_properties = count(document, "minProperties");
  node.max_properties = count(document, "maxProperties");
  node.pattern = text(document, "pattern");
  node.map_atomic = text(document, "x-kubernetes-map-type") == "atomic";
  node.list_keys = texts(document, "x-kubernetes-list-map-keys");
  std::string list_type = text(document, "x-kubernetes-list-type");
  if (list_type == "atomic") node.list_type = api::ListType::Atomic;
  if (list_type == "set") node.list_type = api::ListType::Set;
  if (list_type == "map") node.list_type = api::ListType::Map;
  if (const Json* value = member(document, "default")) node.default_value = std::make_shared<const Json>(*value);
  const Json* values = member(document, "enum");
  if (values && values->is_array() && !values->empty()) node.enum_values = std::make_shared<const Json>(*values);
}

// What needs a walk below `child` needs one below its parent.
void inherit(SchemaNode& parent, const SchemaNode& child) {
  parent.defaults_below |= child.defaults_below;
  parent.lists_below |= child.lists_below;
  parent.embedded_below |= child.embedded_below;
  parent.has_rules |= child.has_rules;
}

Status compile_child(const Json& document, SchemaNode& parent, std::unique_ptr<SchemaNode>& child) {
  TRY_ASSIGN(SchemaNode compiled, compile_schema(document));
  inherit(parent, compiled);
  child = std::make_unique<SchemaNode>(std::move(compiled));
  return ok();
}

Status compile_list(const Json& document, const char* name, std::vector<SchemaNode>& into) {
  const Json* all = member(document, name);
  if (!all || !all->is_array()) return ok();
  for (const Json& one : *all) {
    TRY_ASSIGN(SchemaNode compiled, compile_schema(one));
    into.push_back(std::move(compiled));
  }
  return ok();
}

Status compile_structure(const Json& document, SchemaNode& node) {
  if (const Json* properties = member(document, "properties")) {
    for (const auto& [name, property] : properties->items()) {
      TRY_ASSIGN(SchemaNode compiled, compile_schema(property));
      inherit(node, compiled);
      node.properties.emplace(name, std::move(compiled));
    }
  }
  if (const Json* additional = member(document, "additionalProperties")) {
    node.takes_additional = !additional->is_boolean() || additional->get<bool>();
    node.refuses_additional = !node.takes_additional;
    if (additional->is_object()) TRY(compile_child(*additional, node, node.additional));
  }
  if (const Json* items = member(document, "items")) {
    if (items->is_array()) return Error(Code::Invalid, "items must be a schema object and not an array");
    TRY(compile_child(*items, node, node.items));
  }
  return ok();
}

}  // namespace

Result<SchemaNode> compile_schema(const Json& document) {
  if (!document.is_object()) return Error(Code::Invalid, "a schema must be an object");
  if (member(document, "$ref")) return Error(Code::Invalid, "$ref is not supported");
  SchemaNode node;
  compile_scalars(document, node);
  TRY(compile_pattern(node));
  TRY(compile_structure(document, node));
  TRY(compile_list(document, "allOf", node.all_of));
  TRY(compile_list(document, "anyOf", node.any_of));
  TRY(compile_list(document, "oneOf", node.one_of));
  if (const Json* negated = member(document, "not")) {
    TRY_ASSIGN(SchemaNode compiled, compile_schema(*negated));
    node.not_ = std::make_unique<SchemaNode>(std::move(compiled));
  }
  node.defaults_below |= node.default_value != nullptr;
  node.lists_below |= node.list_type == api::ListType::Set || node.list_type == api::ListType::Map;
  node.embedded_below |= node.embedded_resource;
  return node;
}

}  // namespace skiff::registry
