// gnostic's openapi.v2.Document, written by hand for the parts that clients read. The numbers are those of
// github.com/google/gnostic/openapiv2/OpenAPIv2.proto.

#include <cstdint>
#include <nlohmann/json.hpp>

#include "apiserver/openapi.hpp"

namespace skiff::apiserver {

using Json = nlohmann::ordered_json;

namespace {

void put_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void put_bytes(std::string& out, int field, const std::string& bytes) {
  put_varint(out, static_cast<std::uint64_t>(field) << 3 | 2);
  put_varint(out, bytes.size());
  out.append(bytes);
}

void put_bool(std::string& out, int field, bool value) {
  put_varint(out, static_cast<std::uint64_t>(field) << 3);
  put_varint(out, value ? 1 : 0);
}

void put_text(std::string& out, int field, const Json& object, const char* name) {
  auto found = object.find(name);
  if (found != object.end() && found->is_string()) put_bytes(out, field, found->get<std::string>());
}

// Any { google.protobuf.Any value = 1; string yaml = 2; }: JSON is YAML.
std::string any_message(const Json& value) {
  std::string out;
  put_bytes(out, 2, value.dump() + "\n");
  return out;
}

// NamedAny, NamedSchema, NamedPathItem and their like { string name = 1; T value = 2; }
std::string named(const std::string& name, const std::string& value) {
  std::string out;
  put_bytes(out, 1, name);
  put_bytes(out, 2, value);
  return out;
}

void put_extensions(std::string& out, int field, const Json& object) {
  for (const auto& [name, value] : object.items())
    if (name.starts_with("x-")) put_bytes(out, field, named(name, any_message(value)));
}

std::string schema_message(const Json& schema);

std::string properties_message(const Json& properties) {
  std::string out;
  for (const auto& [name, schema] : properties.items())
    put_bytes(out, 1, named(name, schema_message(schema)));
  return out;
}

std::string wrapped(int field, const std::string& message) {
  std::string out;
  put_bytes(out, field, message);
  return out;
}

std::string schema_message(const Json& schema) {
  std::string out;
  put_text(out, 1, schema, "$ref");
  put_text(out, 2, schema, "format");
  put_text(out, 4, schema, "description");
  if (schema.contains("default")) put_bytes(out, 5, any_message(schema["default"]));
  if (schema.contains("required"))
    for (const Json& name : schema["required"]) put_bytes(out, 19, name.get<std::string>());
  if (schema.contains("enum"))
    for (const Json& value : schema["enum"]) put_bytes(out, 20, any_message(value));
  if (schema.contains("additionalProperties"))
    put_bytes(out, 21, wrapped(1, schema_message(schema["additionalProperties"])));
  if (schema.contains("type")) put_bytes(out, 22, wrapped(1, schema["type"].get<std::string>()));
  if (schema.contains("items")) put_bytes(out, 23, wrapped(1, schema_message(schema["items"])));
  if (schema.contains("properties")) put_bytes(out, 25, properties_message(schema["properties"]));
  put_extensions(out, 31, schema);
  return out;
}

// ParametersItem { Parameter parameter = 1; } { NonBodyParameter non_body_parameter = 2; }
// { QueryParameterSubSchema = 3, PathParameterSubSchema = 4 }
std::string parameter_message(const Json& parameter) {
  bool path = parameter["in"] == "path";
  std::string out;
  if (path) put_bool(out, 1, true);
  put_text(out, 2, parameter, "in");
  put_text(out, 4, parameter, "name");
  put_text(out, path ? 5 : 6, parameter, "type");
  return wrapped(1, wrapped(2, wrapped(path ? 4 : 3, out)));
}

// Responses { repeated NamedResponseValue response_code = 1; }, each a ResponseValue { Response response = 1;
// }
std::string responses_message(const Json& responses) {
  std::string out;
  for (const auto& [code, response] : responses.items()) {
    std::string value;
    put_text(value, 1, response, "description");
    if (response.contains("schema")) put_bytes(value, 2, wrapped(1, schema_message(response["schema"])));
    put_bytes(out, 1, named(code, wrapped(1, value)));
  }
  return out;
}

std::string operation_message(const Json& operation) {
  std::string out;
  put_text(out, 5, operation, "operationId");
  for (const Json& parameter : operation["parameters"]) put_bytes(out, 8, parameter_message(parameter));
  put_bytes(out, 9, responses_message(operation["responses"]));
  put_extensions(out, 13, operation);
  return out;
}

std::string path_item_message(const Json& item) {
  static constexpr std::pair<const char*, int> kMethods[] = {
      {"get", 2}, {"put", 3}, {"post", 4}, {"delete", 5}, {"patch", 8}};
  std::string out;
  for (const auto& [method, field] : kMethods)
    if (item.contains(method)) put_bytes(out, field, operation_message(item[method]));
  for (const Json& parameter : item["parameters"]) put_bytes(out, 9, parameter_message(parameter));
  return out;
}

}  // namespace

std::string openapi_v2_protobuf(const std::string& text) {
  Json document = Json::parse(text);
  std::string info;
  put_text(info, 1, document["info"], "title");
  put_text(info, 2, document["info"], "version");
  std::string paths;
  for (const auto& [path, item] : document["paths"].items())
    put_bytes(paths, 2, named(path, path_item_message(item)));
  std::string out;
  put_text(out, 1, document, "swagger");
  put_bytes(out, 2, info);
  put_bytes(out, 8, paths);
  put_bytes(out, 9, properties_message(document["definitions"]));
  return out;
}

}  // namespace skiff::apiserver
