#include "apiserver/openapi_custom.hpp"

#include <nlohmann/json.hpp>

namespace skiff::apiserver {
namespace {

using Json = nlohmann::json;

bool flag(const Json& schema, const char* name) {
  auto found = schema.find(name);
  return found != schema.end() && found->is_boolean() && found->get<bool>();
}

// Fields that may be null are not required of clients that cannot know it.
void drop_nullable_from_required(Json& schema) {
  auto required = schema.find("required");
  auto properties = schema.find("properties");
  if (required == schema.end() || properties == schema.end()) return;
  Json kept = Json::array();
  for (const Json& name : *required) {
    auto property = name.is_string() ? properties->find(name.get<std::string>()) : properties->end();
    if (property == properties->end() || !flag(*property, "nullable")) kept.push_back(name);
  }
  if (kept.empty()) schema.erase("required");
  else *required = std::move(kept);
}

void to_swagger(Json& schema) {
  if (!schema.is_object()) return;
  for (const char* name : {"allOf", "anyOf", "oneOf", "not"}) schema.erase(name);
  drop_nullable_from_required(schema);
  if (flag(schema, "nullable"))
    for (const char* name : {"nullable", "type", "items", "properties", "additionalProperties"}) schema.erase(name);
  // kubectl would hold unknown members against a schema that lists some.
  if (flag(schema, "x-kubernetes-preserve-unknown-fields"))
    for (const char* name : {"items", "properties"}) schema.erase(name);
  if (flag(schema, "x-kubernetes-int-or-string")) schema.erase("type");
  if (auto properties = schema.find("properties"); properties != schema.end())
    for (Json& property : *properties) to_swagger(property);
  for (const char* name : {"items", "additionalProperties"})
    if (auto found = schema.find(name); found != schema.end()) to_swagger(*found);
}

}  // namespace

nlohmann::ordered_json custom_schema(const registry::CustomVersion& version, bool v3) {
  Json schema = version.document();
  if (!v3) to_swagger(schema);
  schema["type"] = "object";
  return schema;
}

std::string schema_fingerprint(const registry::CustomVersion& version) {
  const api::KindInfo& kind = version.kind();
  std::string text = version.document().dump() + kind.kind + kind.plural;
  for (const api::SubresourceInfo& sub : kind.subresources) text.append(sub.name);
  return text;
}

}  // namespace skiff::apiserver
