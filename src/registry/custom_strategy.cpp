#include "registry/custom_strategy.hpp"

#include <nlohmann/json.hpp>

#include "api/gen/autoscaling.hpp"
#include "base/encoding.hpp"
#include "registry/schema_validation.hpp"

namespace skiff::registry {
namespace {

using api::CustomObject;
using Json = nlohmann::json;

const CustomObject& custom(const void* object) { return *static_cast<const CustomObject*>(object); }
CustomObject& custom(void* object) { return *static_cast<CustomObject*>(object); }

void copy_member(Json& to, const Json& from, const char* name) {
  if (auto found = from.find(name); found != from.end()) to[name] = *found;
  else to.erase(name);
}

const Json* at_path(const Json& document, const std::vector<std::string>& path) {
  const Json* at = &document;
  for (const std::string& name : path) {
    auto found = at->is_object() ? at->find(name) : at->end();
    if (!at->is_object() || found == at->end()) return nullptr;
    at = &*found;
  }
  return at;
}

std::string dotted(const std::vector<std::string>& path) { return "." + join(path, "."); }

void validate_replicas(const Json& document, const std::vector<std::string>& path, api::FieldErrors& errors) {
  const Json* value = at_path(document, path);
  if (!value || value->is_null()) return;
  if (!value->is_number_integer())
    return errors.invalid(dotted(path), "0",
                          fmt::format("{} accessor error: {} is of the type {}, expected int64", dotted(path),
                                      value->dump(), value->is_string() ? "string" : value->type_name()));
  auto number = value->get<std::int64_t>();
  if (number < 0) errors.invalid(dotted(path), std::to_string(number), "should be a non-negative integer");
  if (number > INT32_MAX)
    errors.invalid(dotted(path), std::to_string(number), "should be less than or equal to 2147483647");
}

// The object as its schema sees it. Of the metadata it may speak of names only; the rest can be long.
Json validated_document(const CustomVersion& version, const CustomObject& object) {
  Json document = rest_of(object);
  document["apiVersion"] = version.kind().api_version();
  document["kind"] = version.kind().kind;
  Json& metadata = document["metadata"] = Json::object();
  metadata["name"] = object.metadata.name;
  if (!object.metadata.generateName.empty()) metadata["generateName"] = object.metadata.generateName;
  return document;
}

}  // namespace

void validate_document(const CustomVersion& version, const Json& document, const Json* before, api::FieldErrors& errors) {
  const SchemaNode& schema = version.structure();
  validate_value(document, before, schema, errors);
  if (const ScalePaths* scale = version.scale()) {
    validate_replicas(document, scale->spec_replicas, errors);
    validate_replicas(document, scale->status_replicas, errors);
  }
  validate_embedded(document, schema, errors);
  api::FieldErrors lists;
  validate_lists(document, schema, lists);
  if (!lists.empty() && before) {  // duplicates that were there before may stay
    api::FieldErrors known;
    validate_lists(*before, schema, known);
    if (!known.empty()) return;
  }
  for (const api::FieldError& one : lists.all()) errors.add(one);
}

namespace {

void validate(const CustomVersion& version, const void* object, const void* old, api::FieldErrors& errors) {
  Json before = old ? validated_document(version, custom(old)) : Json();
  validate_document(version, validated_document(version, custom(object)), old ? &before : nullptr, errors);
}

std::string field_text(const Json* value) {
  if (!value) return "";
  if (value->is_string()) return value->get<std::string>();
  return value->is_primitive() && !value->is_null() ? value->dump() : "";
}

// The label selector of a scale is text, whatever the kind's schema makes of it.
std::string selector_text(const Json& document, const ScalePaths& scale) {
  if (scale.label_selector.empty()) return "";
  const Json* value = at_path(document, scale.label_selector);
  return value && value->is_string() ? value->get<std::string>() : "";
}

std::int32_t replicas_at(const Json& document, const std::vector<std::string>& path) {
  const Json* value = at_path(document, path);
  return value && value->is_number_integer() ? value->get<std::int32_t>() : 0;
}

void add_status_rules(Strategy& strategy) {
  strategy.reset_status = [](void* object) {
    Json rest = rest_of(custom(object));
    if (rest.erase("status") > 0) set_rest(custom(object), rest);
  };
  strategy.copy_status = [](void* to, const void* from) {
    Json next = rest_of(custom(to)), old = rest_of(custom(from));
    copy_member(next, old, "status");
    set_rest(custom(to), next);
  };
  strategy.copy_spec = [](void* to, const void* from) {
    Json next = rest_of(custom(from)), asked = rest_of(custom(to));
    copy_member(next, asked, "status");
    set_rest(custom(to), next);
  };
  // A status update changes nothing of the metadata but who wrote the status.
  strategy.prepare_status_update = [](void* next, const void* old, StrategyContext&) -> Status {
    auto managed = std::move(custom(next).metadata.managedFields);
    custom(next).metadata = custom(old).metadata;
    custom(next).metadata.managedFields = std::move(managed);
    return ok();
  };
}

}  // namespace

Strategy custom_strategy(std::shared_ptr<const CustomVersion> version, bool terminating) {
  Strategy strategy;
  if (version->has_status()) add_status_rules(strategy);
  strategy.same_spec = [](const void* a, const void* b) {
    return custom(a).rest == custom(b).rest || rest_of(custom(a)) == rest_of(custom(b));
  };
  if (terminating)
    strategy.prepare_create = [](void*, StrategyContext&) -> Status {
      return Error(Code::MethodNotAllowed,
                   "create not allowed while custom resource definition is terminating");
    };
  strategy.validate = [version](const void* object, const void* old, api::FieldErrors& errors) {
    validate(*version, object, old, errors);
  };
  strategy.validate_status = strategy.validate;
  strategy.selectable_names = version->selectable();
  if (!version->selectable().empty())
    strategy.selectable_fields = [version](const void* object) {
      Json rest = rest_of(custom(object));
      std::map<std::string, std::string> fields;
      for (const std::string& name : version->selectable()) fields[name] = field_text(at_path(rest, split(name, '.')));
      return fields;
    };
  strategy.counts_generation = true;
  strategy.unconditional_update = false;
  return strategy;
}

Result<client::AnyRef> custom_scale(const api::KindInfo& kind, const client::AnyRef& object) {
  const CustomVersion* version = CustomVersion::of(kind);
  const ScalePaths* paths = version ? version->scale() : nullptr;
  if (!paths) return Error(Code::NotFound, "the server could not find the requested resource");
  const CustomObject& from = custom(object.get());
  Json rest = rest_of(from);
  const Json* wanted = at_path(rest, paths->spec_replicas);
  if (!wanted)
    return error(Code::Internal, "the spec replicas field \"{}\" does not exist", dotted(paths->spec_replicas));
  auto scale = std::make_shared<api::Scale>();
  scale->metadata.name = from.metadata.name;
  scale->metadata.namespace_ = from.metadata.namespace_;
  scale->metadata.uid = from.metadata.uid;
  scale->metadata.resourceVersion = from.metadata.resourceVersion;
  scale->metadata.creationTimestamp = from.metadata.creationTimestamp;
  scale->spec.replicas = replicas_at(rest, paths->spec_replicas);
  scale->status.replicas = replicas_at(rest, paths->status_replicas);
  scale->status.selector = selector_text(rest, *paths);
  return client::AnyRef(client::Ref<api::Scale>(std::move(scale)));
}

Status set_custom_replicas(const api::KindInfo& kind, CustomObject& object, std::int32_t replicas) {
  const CustomVersion* version = CustomVersion::of(kind);
  if (!version || !version->scale()) return Error(Code::NotFound, "the server could not find the requested resource");
  Json rest = rest_of(object);
  Json* at = &rest;
  const std::vector<std::string>& path = version->scale()->spec_replicas;
  for (const std::string& name : path) {
    if (!at->is_object() && !at->is_null())
      return error(Code::Invalid, "{} cannot be set: its parent is no object", dotted(path));
    at = &(*at)[name];
  }
  *at = replicas;
  set_rest(object, rest);
  return ok();
}

}  // namespace skiff::registry
