#include "registry/custom_version.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "api/json.hpp"
#include "base/encoding.hpp"

namespace skiff::registry {
namespace {

using Json = nlohmann::json;

constexpr char kVerbs[] = "delete deletecollection get list patch create update watch";
constexpr char kViewVerbs[] = "get patch update";

// "com.example.stable.v1.CronTab" for stable.example.com/v1.
std::string model_name(const std::string& group, const std::string& version, const std::string& kind) {
  std::vector<std::string> parts = split(group, '.');
  std::ranges::reverse(parts);
  parts.push_back(version);
  parts.push_back(kind);
  return join(parts, ".");
}

std::vector<std::string> names_of(const std::string& json_path) {
  std::vector<std::string> names = split(json_path, '.');
  std::erase(names, "");
  return names;
}

// Go's decoder makes floats of 1e3 and 2.0, and its encoder writes them as 1000 and 2.
void tidy_numbers(Json& value) {
  if (value.is_structured()) {
    for (Json& one : value) tidy_numbers(one);
  } else if (value.is_number_float()) {
    double number = value.get<double>();
    if (number == std::trunc(number) && std::abs(number) < 9007199254740992.0)
      value = static_cast<std::int64_t>(number);
  }
}

Result<CustomColumn> column_of(const api::CustomResourceColumnDefinition& definition) {
  CustomColumn column;
  column.name = definition.name;
  column.type = definition.type;
  column.format = definition.format;
  column.description = definition.description.empty()
                           ? "Custom resource definition column (in JSONPath format): " + definition.jsonPath
                           : definition.description;
  column.priority = definition.priority;
  TRY_ASSIGN(column.path, JsonPath::parse(definition.jsonPath));
  return column;
}

CustomColumn age_column() {
  CustomColumn column;
  column.name = "Age";
  column.type = "date";
  column.description = "CreationTimestamp is the server's time at which this object was created, in UTC.";
  column.path = JsonPath::parse(".metadata.creationTimestamp").value();
  return column;
}

}  // namespace

CustomVersion::CustomVersion() = default;
CustomVersion::~CustomVersion() = default;

Result<std::shared_ptr<const CustomVersion>> CustomVersion::make(
    const api::CustomResourceDefinition& crd, const api::CustomResourceDefinitionVersion& version) {
  std::shared_ptr<CustomVersion> made(new CustomVersion());
  Json document = {{"type", "object"}, {"x-kubernetes-preserve-unknown-fields", true}};
  if (version.schema && version.schema->openAPIV3Schema) {
    TRY_ASSIGN(document, api::parse_json(api::to_json(*version.schema->openAPIV3Schema)));
  }
  TRY_ASSIGN(made->structure_, compile_schema(document));
  if (crd.spec.preserveUnknownFields) made->structure_.preserve_unknown = true;
  made->document_ = std::make_unique<const Json>(std::move(document));
  for (const api::CustomResourceColumnDefinition& definition : version.additionalPrinterColumns) {
    // As in Kubernetes, a path that cannot be read leaves its column empty.
    Result<CustomColumn> column = column_of(definition);
    if (column.ok()) made->columns_.push_back(std::move(column).value());
  }
  if (version.additionalPrinterColumns.empty()) made->columns_.push_back(age_column());
  for (const api::SelectableField& field : version.selectableFields)
    made->selectable_.push_back(field.jsonPath.substr(field.jsonPath.starts_with('.') ? 1 : 0));
  made->fill_kind(crd, version);
  return std::shared_ptr<const CustomVersion>(std::move(made));
}

void CustomVersion::fill_kind(const api::CustomResourceDefinition& crd,
                              const api::CustomResourceDefinitionVersion& version) {
  const api::CustomResourceDefinitionNames& names = crd.status.acceptedNames;
  group_ = crd.spec.group;
  version_ = version.name;
  kind_name_ = names.kind;
  plural_ = names.plural;
  singular_ = names.singular;
  short_names_ = join(names.shortNames, " ");
  categories_ = join(names.categories, " ");
  list_kind_ = names.listKind;
  openapi_name_ = model_name(group_, version_, kind_name_);
  doc_ = document_->value("description", "");
  if (version.subresources && version.subresources->status)
    subresources_.push_back({.name = "status", .api_version = "", .kind = "", .verbs = kViewVerbs});
  if (version.subresources && version.subresources->scale) {
    const api::CustomResourceSubresourceScale& scale = *version.subresources->scale;
    subresources_.push_back(
        {.name = "scale", .api_version = "autoscaling/v1", .kind = "Scale", .verbs = kViewVerbs});
    scale_ = std::make_unique<const ScalePaths>(ScalePaths{names_of(scale.specReplicasPath),
                                                           names_of(scale.statusReplicasPath),
                                                           names_of(scale.labelSelectorPath)});
  }
  type_ = {.name = kind_name_.c_str(),
           .openapi_name = openapi_name_.c_str(),
           .proto_name = "",
           .doc = doc_.c_str(),
           .atomic = false,
           .fields = api::custom_object_fields(),
           .kind = &kind_,
           .ops = &api::custom_object_ops(),
           .open = this};
  kind_ = {.group = group_.c_str(),
           .version = version_.c_str(),
           .kind = kind_name_.c_str(),
           .plural = plural_.c_str(),
           .singular = singular_.c_str(),
           .short_names = short_names_.c_str(),
           .categories = categories_.c_str(),
           .verbs = kVerbs,
           .namespaced = crd.spec.scope != "Cluster",
           .subresources = subresources_,
           .columns = {},
           .type = &type_};
}

const CustomVersion* CustomVersion::of(const api::KindInfo& kind) {
  return dynamic_cast<const CustomVersion*>(kind.type->open);
}

void CustomVersion::prune(void* object, std::vector<std::string>& unknown) const {
  auto& custom = *static_cast<api::CustomObject*>(object);
  if (custom.rest.json.empty()) return;
  Json rest = rest_of(custom);
  for (const std::string& path : registry::prune(rest, structure_))
    unknown.push_back(fmt::format("unknown field \"{}\"", path));
  tidy_numbers(rest);
  set_rest(custom, rest);
}

void CustomVersion::apply_defaults(void* object) const {
  auto& custom = *static_cast<api::CustomObject*>(object);
  Json rest = rest_of(custom);
  apply_schema_defaults(rest, structure_);
  set_rest(custom, rest);
}

void CustomVersion::shape(Json& document) const {
  registry::prune(document, structure_);
  apply_schema_defaults(document, structure_);
}

std::string list_kind(const api::KindInfo& kind) {
  const CustomVersion* version = CustomVersion::of(kind);
  return version ? version->list_kind() : std::string(kind.kind) + "List";
}

Json rest_of(const api::CustomObject& object) {
  if (object.rest.json.empty()) return Json::object();
  return Json::parse(object.rest.json, nullptr, false);  // written by our own codec
}

Json document_of(const CustomVersion& version, const api::CustomObject& object) {
  Json document = rest_of(object);
  document["apiVersion"] = version.kind().api_version();
  document["kind"] = version.kind().kind;
  Result<Json> metadata = api::parse_json(api::to_json(object.metadata));
  document["metadata"] = metadata.ok() ? std::move(metadata).value() : Json::object();
  return document;
}

void set_rest(api::CustomObject& object, const Json& rest) {
  object.rest.json = rest.empty() ? std::string() : rest.dump();
}

}  // namespace skiff::registry
