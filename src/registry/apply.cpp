// Server-side apply: PATCH with application/apply-patch+yaml.

#include <nlohmann/json.hpp>

#include "api/gen/autoscaling.hpp"
#include "api/json.hpp"
#include "api/merge.hpp"
#include "base/encoding.hpp"
#include "client/yaml.hpp"
#include "registry/field_managers.hpp"
#include "registry/write.hpp"

namespace skiff::registry {

using nlohmann::json;

namespace {

constexpr const char* kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";
constexpr int kMaxCreateAttempts = 4;

// An error of 500 with nothing but its message, as Kubernetes lets these through.
Error undecorated(std::string message) {
  auto detail = std::make_shared<api::StatusDetail>();
  detail->undecorated = true;
  return Error(Code::Internal, std::move(message)).with(std::move(detail));
}

std::string text_at(const json& object, const char* pointer) {
  const json::json_pointer where(pointer);
  if (!object.contains(where) || !object[where].is_string()) return "";
  return object[where].get<std::string>();
}

/// One apply on its way: what was sent, and how it is to be understood.
struct Applying {
  const ServedKind& served;
  const ObjectKey& key;
  const std::string& subresource;
  json sent;
};

Status check_sent(const Applying& applying) {
  const api::KindInfo& kind = *applying.served.kind;
  const json& sent = applying.sent;
  std::string version = text_at(sent, "/apiVersion"), name = text_at(sent, "/metadata/name");
  if (text_at(sent, "/kind").empty()) return api::bad_request("Object 'Kind' is missing in '" + sent.dump() + "'");
  if (version != kind.api_version())
    return api::bad_request(fmt::format("Incorrect version specified in apply patch. Specified patch version: {}, expected: {}",
                                        version, kind.api_version()));
  const json::json_pointer managed("/metadata/managedFields");
  if (sent.contains(managed) && !sent[managed].is_null()) return api::bad_request("metadata.managedFields must be nil");
  if (!name.empty() && name != applying.key.name)
    return api::bad_request(fmt::format("the name of the object ({}) does not match the name on the URL ({})", name,
                                        applying.key.name));
  std::string namespace_ = text_at(sent, "/metadata/namespace");
  if (!namespace_.empty() && namespace_ != applying.key.namespace_)
    return api::bad_request("the namespace of the provided object does not match the namespace sent on the request");
  std::vector<std::string> problems = api::schema_problems(sent, api::MergeSchema::of(*kind.type));
  if (problems.empty()) return ok();
  std::string all = problems.size() == 1 ? problems[0] : "errors:\n  " + join(problems, "\n  ");
  std::string group_version = *kind.group ? kind.api_version() : "/" + kind.api_version();
  return undecorated(fmt::format("failed to create typed patch object ({}/{}; {}, Kind={}): {}",
                                 namespace_.empty() && kind.namespaced ? applying.key.namespace_ : namespace_,
                                 applying.key.name, group_version, kind.kind, all));
}

// The annotation of client-side apply follows what kubectl applies from the server's side.
void keep_last_applied(json& document, const Applying& applying, const std::string& manager) {
  const json::json_pointer annotations("/metadata/annotations");
  constexpr const char* kPointer = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
  if (manager != "kubectl" || text_at(document, kPointer).empty()) return;
  json sent = applying.sent;
  if (sent.contains(annotations) && sent[annotations].is_object()) sent[annotations].erase(kLastApplied);
  document[annotations][kLastApplied] = sent.dump() + "\n";
}

// Merges into `live` what is applied; nothing when nothing changes. `managed` is the object's managers before and after.
Result<std::optional<json>> merge_applied(const Applying& applying, const json& live, api::ManagedFields& managed,
                                          std::pair<const RequestContext&, WallTime> who) {
  const auto& [context, now] = who;
  const Resource& resource = *applying.served.resource;
  api::ManagerId manager = manager_of(resource, context, applying.subresource);
  manager.applies = true;
  std::vector<std::string> reset;
  for (std::string_view field : reset_fields(resource, applying.subresource)) reset.emplace_back(field);
  api::ApplyRequest request{.applied = applying.sent, .schema = api::MergeSchema::of(*applying.served.kind->type),
                            .manager = manager, .force = context.force, .reset = std::move(reset),
                            .now = api::Time::from(now)};
  TRY_ASSIGN(std::optional<json> next, managed.apply(live, request));
  json document = next.value_or(live);
  keep_last_applied(document, applying, manager.name);
  if (document == live) return std::optional<json>();
  return std::optional<json>(std::move(document));
}

// What the object's managers are when it is first applied to: whoever was there before has its fields.
Status before_first_apply(const Applying& applying, const json& live, api::ManagedFields& managed,
                          std::pair<const RequestContext&, WallTime> who) {
  if (!managed.empty()) return ok();
  const Resource& resource = *applying.served.resource;
  api::ManagerId before = manager_of(resource, who.first, applying.subresource);
  before.name = "before-first-apply";
  const api::TypeInfo& type = *applying.served.kind->type;
  TRY_ASSIGN(json empty, api::parse_json(api::encode_json(type, type.ops->make().get())));
  json seen = live;
  for (std::string_view field : reset_fields(resource, applying.subresource)) {
    empty.erase(std::string(field));
    seen.erase(std::string(field));
  }
  return managed.update(api::compare_documents(empty, seen, api::MergeSchema::of(type)), before,
                        api::Time::from(who.second));
}

}  // namespace

Result<UpdateResult> Registry::apply(const ServedKind& served, const ObjectKey& key, std::string_view body,
                                     const std::string& subresource, RequestContext& context) {
  if (context.field_manager.empty())
    return error(Code::Invalid, "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
  TRY_ASSIGN(std::string text, client::json_from_yaml(body));
  TRY_ASSIGN(json sent, api::parse_json(text));
  if (!sent.is_object()) return api::bad_request("error decoding YAML: not an object");
  const Applying applying{served, key, subresource, std::move(sent)};
  TRY(check_sent(applying));
  const Resource& resource = *served.resource;
  std::pair<const RequestContext&, WallTime> who{context, clock_.wall_now()};
  auto change = [&](Draft& next, const AnyRef& current) -> Status {
    TRY_ASSIGN(std::string seen, in_version(served, api::encode_json(*resource.kind->type, current.get())));
    TRY_ASSIGN(json live, api::parse_json(seen));
    live["metadata"].erase("managedFields");
    Result<api::ManagedFields> managed = api::ManagedFields::decode(current.metadata().managedFields);
    if (!managed.ok()) return undecorated("failed to decode managed fields: " + managed.error().message());
    TRY(before_first_apply(applying, live, managed.value(), who));
    TRY_ASSIGN(std::optional<json> document, merge_applied(applying, live, managed.value(), who));
    if (document) {
      TRY_ASSIGN(next, decode(served, document->dump(), context));
      TRY(check_preconditions(resource, next.metadata(), current.metadata()));
    }
    next.metadata().managedFields = managed.value().encode();
    next.tracked = true;
    return ok();
  };
  for (int attempt = 1;; ++attempt) {
    Result<Object> updated = mutate(resource, key, subresource, context, change);
    if (updated.ok()) return UpdateResult{std::move(updated).value(), false};
    if (updated.error().code() != Code::NotFound || !subresource.empty()) return std::move(updated).error();
    const api::TypeInfo& type = *served.kind->type;
    TRY_ASSIGN(json empty, api::parse_json(api::encode_json(type, type.ops->make().get())));
    api::ManagedFields managed;
    TRY_ASSIGN(std::optional<json> document, merge_applied(applying, empty, managed, who));
    TRY_ASSIGN(Draft draft, decode(served, document.value_or(empty).dump(), context));
    if (!draft.metadata().uid.empty())
      return api::uid_conflict(*resource.kind, key.name, draft.metadata().uid, "");
    draft.metadata().name = key.name;
    draft.metadata().managedFields = managed.encode();
    draft.tracked = true;
    Result<Object> created = create(resource, key.namespace_, std::move(draft), context);
    if (created.ok()) return UpdateResult{std::move(created).value(), true};
    if (created.error().code() != Code::AlreadyExists || attempt == kMaxCreateAttempts) return std::move(created).error();
  }
}

Result<AnyRef> Registry::apply_scale(const Resource& resource, const ObjectKey& key, std::string_view body,
                                     RequestContext& context) {
  TRY_ASSIGN(std::string text, client::json_from_yaml(body));
  TRY_ASSIGN(json sent, api::parse_json(text));
  std::string expected = api::kind_of<api::Scale>().api_version();
  if (text_at(sent, "/apiVersion") != expected)
    return api::bad_request(fmt::format("Incorrect version specified in apply patch. Specified patch version: {}, expected: {}",
                                        text_at(sent, "/apiVersion"), expected));
  std::vector<std::string> problems = api::schema_problems(sent, api::MergeSchema::of(api::type_of<api::Scale>()));
  if (!problems.empty())
    return undecorated(fmt::format("failed to create typed patch object ({}; {}, Kind=Scale): {}", key.str(), expected, problems[0]));
  // A scale is a view of one field, and so is who owns it.
  json parent = {{"apiVersion", resource.kind->api_version()}, {"kind", resource.kind->kind}};
  const json::json_pointer replicas("/spec/replicas");
  if (sent.contains(replicas)) parent[replicas] = sent[replicas];
  context.api_version.clear();
  TRY(apply(as_stored(resource), key, parent.dump(), "scale", context));
  return get_scale(resource, key);
}

}  // namespace skiff::registry
