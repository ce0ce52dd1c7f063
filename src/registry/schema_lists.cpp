// What a structural schema asks for beyond OpenAPI: lists that are sets or maps, and embedded resources.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "api/gen/meta.hpp"
#include "api/json.hpp"
#include "api/names.hpp"
#include "base/encoding.hpp"
#include "registry/schema_validation.hpp"

namespace skiff::registry {
namespace {

using Json = nlohmann::json;

std::string child(const std::string& path, const std::string& name) { return path.empty() ? name : path + "." + name; }

// Visits the members and items of `value` with their schemas and paths.
template <class Visit>
void each_below(const Json& value, const SchemaNode& schema, const std::string& path, Visit visit) {
  if (value.is_array() && schema.items)
    for (size_t i = 0; i < value.size(); ++i) visit(value[i], *schema.items, fmt::format("{}[{}]", path, i));
  if (!value.is_object()) return;
  for (const auto& [name, member] : value.items()) {
    auto property = schema.properties.find(name);
    if (property != schema.properties.end()) visit(member, property->second, child(path, name));
    else if (schema.additional) visit(member, *schema.additional, fmt::format("{}[{}]", path, name));
  }
}

void check_set(const Json& list, const std::string& path, api::FieldErrors& errors) {
  std::set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i)
    if (!seen.insert(list[i].dump()).second) errors.duplicate(fmt::format("{}[{}]", path, i), printed(list[i]));
}

void check_map(const Json& list, const SchemaNode& schema, const std::string& path, api::FieldErrors& errors) {
  std::set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    std::string at = fmt::format("{}[{}]", path, i);
    if (!list[i].is_object()) {
      errors.invalid(at, printed(list[i]), "must be an object for an array of list-type map");
      continue;
    }
    Json keys = Json::object();
    for (const std::string& key : schema.list_keys)
      if (auto found = list[i].find(key); found != list[i].end()) keys[key] = *found;
    if (!seen.insert(keys.dump()).second) errors.duplicate(at, keys.dump());
  }
}

void walk_lists(const Json& value, const SchemaNode& schema, const std::string& path, api::FieldErrors& errors) {
  if (!schema.lists_below) return;
  if (value.is_array() && schema.list_type == api::ListType::Set) check_set(value, path, errors);
  if (value.is_array() && schema.list_type == api::ListType::Map) check_map(value, schema, path, errors);
  each_below(value, schema, path, [&](const Json& one, const SchemaNode& of, const std::string& where) {
    walk_lists(one, of, where, errors);
  });
}

void check_text_member(const Json& object, const char* name, const std::string& path, api::FieldErrors& errors) {
  auto found = object.find(name);
  if (found == object.end() || (found->is_string() && found->get_ref<const std::string&>().empty()))
    errors.required(child(path, name), "must not be empty");
  else if (!found->is_string())
    errors.type_invalid(child(path, name), printed(*found), "must be a string");
}

void check_resource(const Json& object, const std::string& path, api::FieldErrors& errors) {
  check_text_member(object, "apiVersion", path, errors);
  check_text_member(object, "kind", path, errors);
  auto kind = object.find("kind");
  if (kind != object.end() && kind->is_string() && !kind->get_ref<const std::string&>().empty()) {
    std::string lowered = kind->get<std::string>();
    std::ranges::transform(lowered, lowered.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
    for (const std::string& problem : api::dns1035_label_problems(lowered))
      errors.invalid(child(path, "kind"), printed(*kind),
                     "may have mixed case, but should otherwise match: " + problem);
  }
  auto found = object.find("metadata");
  if (found == object.end()) return;
  api::ObjectMeta metadata;
  Status read = found->is_object()
                    ? api::decode_document(*found, api::type_of<api::ObjectMeta>(), &metadata)
                    : Status(Error(Code::BadRequest, "must be an object"));
  if (!read.ok()) return errors.invalid(child(path, "metadata"), printed(*found), read.error().message());
  if (metadata.name.empty()) return;
  for (const std::string& problem : api::dns1123_subdomain_problems(metadata.name))
    errors.invalid(child(path, "metadata.name"), api::quote(metadata.name), problem);
  for (const auto& [key, value] : metadata.labels)
    for (const std::string& problem : api::label_value_problems(value))
      errors.invalid(child(path, "metadata.labels"), api::quote(value), problem);
}

void walk_embedded(const Json& value, const SchemaNode& schema, const std::string& path, api::FieldErrors& errors) {
  if (!schema.embedded_below) return;
  if (schema.embedded_resource && value.is_object()) check_resource(value, path, errors);
  each_below(value, schema, path, [&](const Json& one, const SchemaNode& of, const std::string& where) {
    walk_embedded(one, of, where, errors);
  });
}

}  // namespace

void validate_lists(const Json& value, const SchemaNode& schema, api::FieldErrors& errors) {
  walk_lists(value, schema, "", errors);
}

void validate_embedded(const Json& value, const SchemaNode& schema, api::FieldErrors& errors) {
  walk_embedded(value, schema, "", errors);
}

}  // namespace skiff::registry
