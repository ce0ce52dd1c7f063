#include "apiserver/openapi.hpp"

#include <functional>
#include <nlohmann/json.hpp>

#include "api/descriptor.hpp"
#include "api/gen/meta.hpp"
#include "apiserver/negotiate.hpp"
#include "apiserver/openapi_custom.hpp"
#include "apiserver/status.hpp"
#include "base/encoding.hpp"

namespace skiff::apiserver {

using Json = nlohmann::ordered_json;

namespace {

constexpr const char* kTime = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
constexpr const char* kMicroTime = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
constexpr const char* kQuantity = "io.k8s.apimachinery.pkg.api.resource.Quantity";
constexpr const char* kIntOrString = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
constexpr const char* kListMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
// Old clients ask with '@', which is no media type that Go's parser takes in an answer.
constexpr const char* kProtobufV2Asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
constexpr const char* kProtobufV2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

Json group_version_kind(const api::KindInfo& kind) {
  return {{"group", kind.group}, {"version", kind.version}, {"kind", kind.kind}};
}

// The name of a list's schema. Custom resources say what their lists are called.
std::string list_name(const api::KindInfo& kind) {
  std::string name = kind.type->openapi_name;
  if (!kind.type->open) return name + "List";
  return name.substr(0, name.rfind('.') + 1) + registry::list_kind(kind);
}

/// Collects the schemas that a set of kinds needs, in one dialect.
class Schemas {
 public:
  explicit Schemas(bool v3) : v3_(v3), prefix_(v3 ? "#/components/schemas/" : "#/definitions/") {}

  void add(const api::KindInfo& kind) {
    add(*kind.type);
    if (kind.is_resource()) add_list(*kind.type->kind);  // an old version may have today's schema
    for (const api::SubresourceInfo& sub : kind.subresources) {
      const api::KindInfo* of = *sub.kind ? api::find_kind(sub.api_version, sub.kind) : nullptr;
      if (of != nullptr) add(*of->type);
    }
  }
  void add(const api::TypeInfo& type);
  Json take() {
    Json sorted = Json::object();
    for (auto& [name, schema] : schemas_) sorted[name] = std::move(schema);
    return sorted;
  }
  Json reference(const std::string& name) const { return {{"$ref", prefix_ + name}}; }

 private:
  void add_custom(const api::TypeInfo& type);
  void add_list(const api::KindInfo& kind);
  void add_scalar(const char* name);
  Json value(const api::FieldInfo& field);
  Json field(const api::FieldInfo& field);

  bool v3_;
  std::string prefix_;
  std::map<std::string, Json> schemas_;
};

const char* const kApiVersionDoc =
    "The version of the schema of this object. The server may convert older versions and refuses unknown "
    "ones.";
const char* const kKindDoc = "The kind of this object, in CamelCase. It cannot be changed.";

Json text_property(const char* doc) { return {{"description", doc}, {"type", "string"}}; }

void Schemas::add_scalar(const char* name) {
  if (schemas_.contains(name)) return;
  Json schema = {{"type", "string"}};
  if (name == kTime || name == kMicroTime) schema["format"] = "date-time";
  if (name == kIntOrString) schema["format"] = "int-or-string";
  if (v3_ && name == kIntOrString)
    schema = {{"format", "int-or-string"},
              {"oneOf", Json::array({{{"type", "integer"}}, {{"type", "string"}}})}};
  if (v3_ && name == kQuantity)
    schema = {{"oneOf", Json::array({{{"type", "string"}}, {{"type", "number"}}})}};
  schemas_[name] = std::move(schema);
}

Json Schemas::value(const api::FieldInfo& field) {
  auto scalar = [this](const char* name) {
    add_scalar(name);
    return reference(name);
  };
  switch (field.value) {
    case api::ValueKind::String:
      return {{"type", "string"}};
    case api::ValueKind::Bool:
      return {{"type", "boolean"}};
    case api::ValueKind::Int32:
      return {{"type", "integer"}, {"format", "int32"}};
    case api::ValueKind::Int64:
      return {{"type", "integer"}, {"format", "int64"}};
    case api::ValueKind::Double:
      return {{"type", "number"}, {"format", "double"}};
    case api::ValueKind::Bytes:
      return {{"type", "string"}, {"format", "byte"}};
    case api::ValueKind::Time:
      return scalar(kTime);
    case api::ValueKind::MicroTime:
      return scalar(kMicroTime);
    case api::ValueKind::Quantity:
      return scalar(kQuantity);
    case api::ValueKind::IntOrString:
      return scalar(kIntOrString);
    case api::ValueKind::Raw:
      return {{"type", "object"}};
    case api::ValueKind::Struct:
      add(field.type());
      return reference(field.type().openapi_name);
    case api::ValueKind::StringList:
      return {{"type", "array"}, {"items", {{"type", "string"}}}};
  }
  return Json::object();
}

void put_enum(Json& schema, const api::FieldInfo& field) {
  for (const std::string& one : split(field.enum_values, ',')) schema["enum"].push_back(one);
}

void put_list_facts(Json& schema, const api::FieldInfo& field) {
  switch (field.list_type) {
    case api::ListType::Unset:
      break;
    case api::ListType::Atomic:
      schema["x-kubernetes-list-type"] = "atomic";
      break;
    case api::ListType::Set:
      schema["x-kubernetes-list-type"] = "set";
      break;
    case api::ListType::Map:
      schema["x-kubernetes-list-type"] = "map";
      schema["x-kubernetes-list-map-keys"] = split(field.list_keys, ',');
      break;
  }
  if (field.map_type == api::MapType::Atomic) schema["x-kubernetes-map-type"] = "atomic";
  if (field.map_type == api::MapType::Granular) schema["x-kubernetes-map-type"] = "granular";
  if (*field.patch_strategy) schema["x-kubernetes-patch-strategy"] = field.patch_strategy;
  if (*field.patch_merge_key) schema["x-kubernetes-patch-merge-key"] = field.patch_merge_key;
}

Json Schemas::field(const api::FieldInfo& field) {
  Json schema = value(field);
  bool container = field.shape == api::Shape::List || field.shape == api::Shape::Map;
  // OpenAPI 3 ignores what stands beside a $ref.
  if (v3_ && schema.contains("$ref") && !container) schema = {{"allOf", Json::array({std::move(schema)})}};
  put_enum(schema, field);
  if (field.shape == api::Shape::List) schema = {{"type", "array"}, {"items", std::move(schema)}};
  if (field.shape == api::Shape::Map)
    schema = {{"type", "object"}, {"additionalProperties", std::move(schema)}};
  if (*field.schema_default) schema["default"] = Json::parse(field.schema_default, nullptr, false);
  if (*field.doc) schema["description"] = field.doc;
  put_list_facts(schema, field);
  return schema;
}

// A Raw is a RawExtension, which holds an object, but for what stands in schemas: any JSON.
bool holds_any_json(const api::TypeInfo& owner, const api::FieldInfo& field) {
  return field.value == api::ValueKind::Raw &&
         std::string_view(owner.openapi_name).starts_with("io.k8s.apiextensions-apiserver.");
}

void make_untyped(Json& schema) {
  for (const char* name : {"items", "additionalProperties"})
    if (schema.contains(name)) return void(schema[name].erase("type"));
  schema.erase("type");
}

void Schemas::add(const api::TypeInfo& type) {
  if (schemas_.contains(type.openapi_name)) return;
  if (type.open) return add_custom(type);
  schemas_[type.openapi_name] = nullptr;  // types may contain themselves
  std::map<std::string, Json> properties;
  Json required = Json::array();
  if (type.kind != nullptr) {
    properties["apiVersion"] = text_property(kApiVersionDoc);
    properties["kind"] = text_property(kKindDoc);
  }
  for (const api::FieldInfo& one : type.fields) {
    properties[one.name] = field(one);
    if (holds_any_json(type, one)) make_untyped(properties[one.name]);
    if (one.required) required.push_back(one.name);
  }
  Json schema = Json::object();
  if (*type.doc) schema["description"] = type.doc;
  schema["type"] = "object";
  if (!required.empty()) schema["required"] = std::move(required);
  for (auto& [name, property] : properties) schema["properties"][name] = std::move(property);
  if (type.atomic) schema["x-kubernetes-map-type"] = "atomic";
  for (const api::KindInfo* kind : api::all_kinds())
    if (kind->type == &type) schema["x-kubernetes-group-version-kind"].push_back(group_version_kind(*kind));
  schemas_[type.openapi_name] = std::move(schema);
}

// The schema as its definition wrote it, with the members that every object has.
void Schemas::add_custom(const api::TypeInfo& type) {
  const registry::CustomVersion* version = registry::CustomVersion::of(*type.kind);
  if (version == nullptr) return;
  add(api::type_of<api::ObjectMeta>());
  Json schema = custom_schema(*version, v3_);
  Json& properties = schema["properties"];
  if (!properties.contains("apiVersion")) properties["apiVersion"] = text_property(kApiVersionDoc);
  if (!properties.contains("kind")) properties["kind"] = text_property(kKindDoc);
  Json metadata = reference(api::type_of<api::ObjectMeta>().openapi_name);
  if (v3_) metadata = {{"allOf", Json::array({std::move(metadata)})}};
  properties["metadata"] = std::move(metadata);
  schema["x-kubernetes-group-version-kind"] = Json::array({group_version_kind(*type.kind)});
  schemas_[type.openapi_name] = std::move(schema);
}

void Schemas::add_list(const api::KindInfo& kind) {
  add(api::type_of<api::ListMeta>());
  std::string name = list_name(kind);
  Json metadata = reference(kListMeta);
  if (v3_) metadata = {{"allOf", Json::array({std::move(metadata)})}};
  schemas_[name] = {
      {"description", fmt::format("A list of {} objects.", kind.kind)},
      {"type", "object"},
      {"required", {"items"}},
      {"properties",
       {{"apiVersion", text_property(kApiVersionDoc)},
        {"items", {{"type", "array"}, {"items", reference(kind.type->openapi_name)}}},
        {"kind", text_property(kKindDoc)},
        {"metadata", std::move(metadata)}}},
      {"x-kubernetes-group-version-kind",
       Json::array(
           {{{"group", kind.group}, {"version", kind.version}, {"kind", registry::list_kind(kind)}}})}};
}

/// The operations of one kind. Clients look for the query parameters that a verb knows (dryRun,
/// fieldValidation).
class Paths {
 public:
  Paths(bool v3, const Schemas& schemas) : v3_(v3), schemas_(schemas) {}

  void add(const api::KindInfo& kind) {
    std::string base = *kind.group ? fmt::format("/apis/{}/{}", kind.group, kind.version)
                                   : fmt::format("/api/{}", kind.version);
    std::string place = kind.namespaced ? base + "/namespaces/{namespace}/" : base + "/";
    add_path(place + kind.plural, kind, kind.verbs,
             {{"list", "get"}, {"create", "post"}, {"deletecollection", "delete"}});
    std::string one = place + kind.plural + "/{name}";
    const std::vector<VerbMethod> on_one{
        {"get", "get"}, {"update", "put"}, {"patch", "patch"}, {"delete", "delete"}};
    add_path(one, kind, kind.verbs, on_one);
    if (kind.namespaced) add_path(base + "/" + kind.plural, kind, kind.verbs, {{"list", "get"}});
    for (const api::SubresourceInfo& sub : kind.subresources) {
      const api::KindInfo* of = *sub.kind ? api::find_kind(sub.api_version, sub.kind) : &kind;
      std::vector<VerbMethod> methods = on_one;
      methods.push_back({"create", "post"});
      add_path(one + "/" + sub.name, of ? *of : kind, sub.verbs, methods);
    }
  }
  Json take() {
    Json sorted = Json::object();
    for (auto& [path, item] : paths_) sorted[path] = std::move(item);
    return sorted;
  }

 private:
  struct VerbMethod {
    std::string verb, method;
  };

  Json parameter(const char* name, const char* type, const char* where = "query") const {
    Json out = {{"name", name}, {"in", where}};
    if (std::string_view(where) == "path") out["required"] = true;
    if (v3_) {
      out["schema"] = {{"type", type}, {"uniqueItems", true}};
    } else {
      out["type"] = type;
      out["uniqueItems"] = true;
    }
    return out;
  }

  Json parameters(const std::string& verb) const {
    Json out = Json::array();
    bool writes = verb == "create" || verb == "update" || verb == "patch";
    if (writes || verb.starts_with("delete")) out.push_back(parameter("dryRun", "string"));
    if (writes) {
      out.push_back(parameter("fieldManager", "string"));
      out.push_back(parameter("fieldValidation", "string"));
    }
    if (verb.starts_with("delete"))
      for (const char* name : {"gracePeriodSeconds", "orphanDependents", "propagationPolicy"})
        out.push_back(parameter(name, std::string_view(name) == "gracePeriodSeconds" ? "integer"
                                      : std::string_view(name) == "orphanDependents" ? "boolean"
                                                                                     : "string"));
    if (verb == "list" || verb == "deletecollection") {
      for (const char* name :
           {"labelSelector", "fieldSelector", "continue", "resourceVersion", "resourceVersionMatch"})
        out.push_back(parameter(name, "string"));
      for (const char* name : {"limit", "timeoutSeconds"}) out.push_back(parameter(name, "integer"));
      if (verb == "list")
        for (const char* name : {"watch", "allowWatchBookmarks", "sendInitialEvents"})
          out.push_back(parameter(name, "boolean"));
    }
    return out;
  }

  Json responses(const api::KindInfo& kind, const std::string& verb) const {
    std::string name = verb == "list" ? list_name(kind) : kind.type->openapi_name;
    Json schema = schemas_.reference(name);
    Json success = {{"description", "OK"}};
    if (v3_) {
      success["content"] = {{"application/json", {{"schema", schema}}}};
    } else {
      success["schema"] = schema;
    }
    return {{verb == "create" ? "201" : "200", success}, {"401", {{"description", "Unauthorized"}}}};
  }

  void add_path(const std::string& path, const api::KindInfo& kind, const char* verbs,
                const std::vector<VerbMethod>& methods) {
    Json item = Json::object();
    for (const std::string& verb : split(verbs, ' ')) {
      for (const VerbMethod& known : methods) {
        if (known.verb != verb) continue;
        item[known.method] = {{"operationId", verb + path},
                              {"parameters", parameters(verb)},
                              {"responses", responses(kind, verb)},
                              {"x-kubernetes-action", verb == "create" ? "post" : verb},
                              {"x-kubernetes-group-version-kind", group_version_kind(kind)}};
      }
    }
    if (item.empty()) return;
    item["parameters"] = Json::array();
    if (path.find("{name}") != path.npos) item["parameters"].push_back(parameter("name", "string", "path"));
    if (path.find("{namespace}") != path.npos)
      item["parameters"].push_back(parameter("namespace", "string", "path"));
    paths_[path] = std::move(item);
  }

  bool v3_;
  const Schemas& schemas_;
  std::map<std::string, Json> paths_;
};

std::string path_of(const Discovery::Group& group, const Discovery::Version& version) {
  return group.name.empty() ? "api/" + version.version : "apis/" + group.name + "/" + version.version;
}

bool accepts(const Request& request, std::string_view type) {
  for (const MediaType& accepted : parse_accept(request.header("Accept")))
    if (accepted.type == type) return true;
  return false;
}

}  // namespace

std::string openapi_v2(const Discovery& discovery, const std::string& version) {
  Schemas schemas(false);
  Paths paths(false, schemas);
  for (const Discovery::Group& group : discovery.groups()) {
    for (const Discovery::Version& one : group.versions) {
      for (const api::KindInfo* kind : one.kinds) {
        schemas.add(*kind);
        paths.add(*kind);
      }
    }
  }
  for (const char* name : {"Status", "DeleteOptions"})
    if (const api::KindInfo* kind = api::find_kind("v1", name)) schemas.add(*kind->type);
  schemas.add(api::type_of<api::DeleteOptions>());
  Json document = {{"swagger", "2.0"},
                   {"info", {{"title", "Kubernetes"}, {"version", version}}},
                   {"paths", paths.take()},
                   {"definitions", schemas.take()}};
  return document.dump();
}

std::string openapi_v3(const Discovery::Group&, const Discovery::Version& version,
                       const std::string& release) {
  Schemas schemas(true);
  Paths paths(true, schemas);
  for (const api::KindInfo* kind : version.kinds) {
    schemas.add(*kind);
    paths.add(*kind);
  }
  schemas.add(api::type_of<api::DeleteOptions>());
  schemas.add(api::type_of<api::MetaStatus>());
  Json document = {{"openapi", "3.0.0"},
                   {"info", {{"title", "Kubernetes"}, {"version", release}}},
                   {"paths", paths.take()},
                   {"components", {{"schemas", schemas.take()}}}};
  return document.dump();
}

Chunk OpenApi::cached(const std::string& key, const std::function<std::string()>& make) {
  MutexLock lock(mutex_);
  Chunk& document = documents_[key];
  if (!document) document = std::make_shared<std::string>(make());
  return document;
}

std::string OpenApi::index_v3() {
  Json paths = Json::object();
  for (const Discovery::Group& group : discovery_.groups()) {
    for (const Discovery::Version& version : group.versions) {
      std::string path = path_of(group, version);
      if (version.remote) {
        bool known = version.remote->documents && !version.remote->documents->openapi_url.empty();
        if (known) paths[path] = {{"serverRelativeURL", version.remote->documents->openapi_url}};
        continue;
      }
      // The hash lets clients keep a document; it changes with the release and with custom resources.
      std::string contents = path + version_;
      for (const api::KindInfo* kind : version.kinds)
        if (const registry::CustomVersion* custom = registry::CustomVersion::of(*kind))
          contents += schema_fingerprint(*custom);
      size_t hash = std::hash<std::string>()(contents);
      paths[path] = {{"serverRelativeURL", fmt::format("/openapi/v3/{}?hash={:016X}", path, hash)}};
    }
  }
  return Json{{"paths", std::move(paths)}}.dump();
}

std::optional<Reply> OpenApi::serve(const Request& request) {
  const std::string& path = request.path;
  if (path == "/openapi/v2") {
    Chunk text = cached("v2", [this] { return openapi_v2(discovery_, version_); });
    bool packs = accepts(request, kProtobufV2) || accepts(request, kProtobufV2Asked);
    if (!packs) return Reply{200, "application/json", {}, text};
    Chunk packed = cached("v2.pb", [&text] { return openapi_v2_protobuf(*text); });
    return Reply{200, kProtobufV2, {}, packed};
  }
  if (path == "/openapi/v3")
    return Reply{200, "application/json", {}, cached("v3", [this] { return index_v3(); })};
  for (const Discovery::Group& group : discovery_.groups()) {
    for (const Discovery::Version& version : group.versions) {
      if (path != "/openapi/v3/" + path_of(group, version)) continue;
      return Reply{
          200, "application/json", {}, cached(path, [&] { return openapi_v3(group, version, version_); })};
    }
  }
  return std::nullopt;
}

}  // namespace skiff::apiserver
