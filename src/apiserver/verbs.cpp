#include "apiserver/verbs.hpp"

#include <array>
#include <charconv>

#include "api/gen/meta.hpp"
#include "api/json.hpp"
#include "api/status.hpp"
#include "api/protobuf.hpp"
#include "apiserver/status.hpp"
#include "base/encoding.hpp"
#include "registry/paging.hpp"

namespace skiff::apiserver {

using client::PatchType;
using registry::ListQuery;
using registry::Object;

namespace {

struct VerbRow {
  std::string_view verb;
  Result<Response> (*function)(Call&);
};

constexpr VerbRow kObjectVerbs[] = {{"get", get_object},       {"list", list_objects},
                                    {"watch", watch_objects},  {"create", create_object},
                                    {"update", update_object}, {"patch", patch_object},
                                    {"delete", delete_object}, {"deletecollection", delete_collection}};

// Of subresources that show the parent object itself (status and its like).
constexpr VerbRow kViewVerbs[] = {{"get", get_object}, {"update", update_object}, {"patch", patch_object}};

struct SubresourceRow {
  std::string_view name;
  std::span<const VerbRow> verbs;
};

constexpr VerbRow kScaleVerbs[] = {{"get", get_scale}, {"update", update_scale}, {"patch", patch_scale}};
constexpr VerbRow kCreateVerbs[] = {{"create", create_subresource}};
constexpr VerbRow kLogVerbs[] = {{"get", pod_log}};
constexpr VerbRow kExecVerbs[] = {{"get", pod_exec}, {"create", pod_exec}};
constexpr VerbRow kAttachVerbs[] = {{"get", pod_attach}, {"create", pod_attach}};
constexpr VerbRow kPortForwardVerbs[] = {{"get", pod_port_forward}, {"create", pod_port_forward}};
// OPTIONS is no verb of the API, and has no name for authorisation either.
constexpr VerbRow kProxyVerbs[] = {
    {"get", proxy}, {"create", proxy}, {"update", proxy}, {"patch", proxy}, {"delete", proxy}, {"", proxy}};

constexpr SubresourceRow kSubresources[] = {
    {"status", kViewVerbs},
    {"finalize", kViewVerbs},
    {"approval", kViewVerbs},
    {"resize", kViewVerbs},
    {"ephemeralcontainers", kViewVerbs},
    {"scale", kScaleVerbs},
    {"binding", kCreateVerbs},
    {"eviction", kCreateVerbs},
    {"token", kCreateVerbs},
    {"log", kLogVerbs},
    {"exec", kExecVerbs},
    {"attach", kAttachVerbs},
    {"portforward", kPortForwardVerbs},
    {"proxy", kProxyVerbs},
};

bool lists_word(std::string_view words, std::string_view word) {
  for (const std::string& item : split(words, ' '))
    if (item == word) return true;
  return false;
}

Result<Verb> pick(std::span<const VerbRow> rows, std::string_view allowed, std::string_view verb) {
  for (const VerbRow& row : rows)
    if (row.verb == verb && (verb.empty() || lists_word(allowed, verb))) return Verb{row.function};
  return method_not_allowed();
}

template <class Number>
Result<std::optional<Number>> number_parameter(const Request& request, std::string_view name) {
  std::string_view text = request.parameter(name);
  if (text.empty()) return std::optional<Number>();
  Number value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size())
    return api::bad_request(fmt::format("strconv.ParseInt: parsing {}: invalid syntax", api::quote(text)));
  return std::optional<Number>(value);
}

// Go's client sends "resourceVersion=0" to mean "whatever you have": here that is always the newest.
Status check_not_ahead(const Call& call) {
  std::string version(call.request.parameter("resourceVersion"));
  TRY_ASSIGN(store::Revision wanted, registry::parse_revision(version));
  if (wanted > call.registry.revision()) return registry::too_large(wanted, call.registry.revision());
  return ok();
}

Result<client::DeleteOptions> delete_options(const Call& call, registry::RequestContext& context) {
  api::DeleteOptions body;
  if (!call.request.body.empty()) {
    TRY_ASSIGN(std::string text, json_body(call.request, api::type_of<api::DeleteOptions>()));
    TRY(api::decode_json(text, api::type_of<api::DeleteOptions>(), &body));
  }
  client::DeleteOptions options;
  TRY_ASSIGN(std::optional<std::int64_t> grace,
             number_parameter<std::int64_t>(call.request, "gracePeriodSeconds"));
  options.grace_seconds = body.gracePeriodSeconds ? body.gracePeriodSeconds : grace;
  options.propagation =
      body.propagationPolicy.value_or(std::string(call.request.parameter("propagationPolicy")));
  if (options.propagation.empty() && body.orphanDependents)
    options.propagation = *body.orphanDependents ? "Orphan" : "Background";
  if (options.propagation.empty() && call.request.query.contains("orphanDependents"))
    options.propagation = is_true(call.request, "orphanDependents") ? "Orphan" : "Background";
  if (body.preconditions) {
    options.uid = body.preconditions->uid.value_or("");
    options.resource_version = body.preconditions->resourceVersion.value_or("");
  }
  for (const std::string& item : body.dryRun) context.dry_run = context.dry_run || item == "All";
  static constexpr std::array<std::string_view, 4> kKnown{"", "Orphan", "Background", "Foreground"};
  if (std::ranges::find(kKnown, options.propagation) == kKnown.end())
    return error(Code::Invalid,
                 "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: "
                 "\"DeletionPropagation(\\\"{}\\\")\": must be one of: "
                 "\"Foreground\", \"Background\", \"Orphan\", or \"\"",
                 options.propagation);
  return options;
}

}  // namespace

Result<Verb> find_verb(const RequestInfo& info, const api::KindInfo& kind) {
  bool one = info.verb != "list" && info.verb != "watch" && info.verb != "deletecollection";
  // One object of a namespaced kind lives below its namespace; nothing else does.
  if (!kind.namespaced && !info.namespace_.empty() && info.resource != "namespaces")
    return resource_not_found();
  if (kind.namespaced && info.namespace_.empty() && one)
    return info.verb == "create" ? method_not_allowed() : resource_not_found();
  if (info.subresource.empty()) {
    if (info.name.empty() ==
        (info.verb == "get" || info.verb == "update" || info.verb == "patch" || info.verb == "delete"))
      return method_not_allowed();
    if (info.verb == "create" && !info.name.empty()) return method_not_allowed();
    return pick(kObjectVerbs, kind.verbs, info.verb);
  }
  for (const api::SubresourceInfo& known : kind.subresources) {
    if (known.name != info.subresource) continue;
    for (const SubresourceRow& row : kSubresources)
      if (row.name == info.subresource) return pick(row.verbs, known.verbs, info.verb);
  }
  return resource_not_found();
}

Result<ListQuery> list_query(const Call& call) {
  ListQuery query;
  query.namespace_ = call.resource.kind->namespaced ? call.info.namespace_ : "";
  TRY_ASSIGN(query.labels, api::Selector::parse(call.request.parameter("labelSelector")));
  TRY_ASSIGN(query.fields, api::FieldSelector::parse(call.request.parameter("fieldSelector")));
  TRY_ASSIGN(std::optional<std::int64_t> limit, number_parameter<std::int64_t>(call.request, "limit"));
  query.limit = limit.value_or(0);
  query.continue_token = call.request.parameter("continue");
  query.resource_version = call.request.parameter("resourceVersion");
  query.resource_version_match = call.request.parameter("resourceVersionMatch");
  if (!call.info.name.empty()) {  // /watch/.../<name>
    TRY_ASSIGN(query.fields, api::FieldSelector::parse("metadata.name=" + call.info.name));
  }
  return query;
}

Result<Response> answer(Call& call, int status, const Object& object) {
  TRY_ASSIGN(Chunk body, write_object(call.form, object, call.now));
  return Response(Reply{status, call.form.content_type(), {}, std::move(body)});
}

Result<Response> answer(Call& call, int status, const client::AnyRef& object) {
  TRY_ASSIGN(Chunk body, write_object(call.form, object, call.now));
  return Response(Reply{status, call.form.content_type(), {}, std::move(body)});
}

Result<Response> get_object(Call& call) {
  TRY(check_not_ahead(call));
  TRY_ASSIGN(Object object, call.registry.get(call.resource, call.key()));
  return answer(call, 200, object);
}

Result<Response> list_objects(Call& call) {
  TRY_ASSIGN(ListQuery query, list_query(call));
  if (call.request.query.contains("sendInitialEvents")) {
    api::FieldErrors errors;
    errors.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
    return registry::invalid_list_options(errors);
  }
  TRY_ASSIGN(registry::ListPage page, call.registry.list(call.resource, query));
  TRY_ASSIGN(Chunk body, write_list(call.form, page, call.now));
  return Response(Reply{200, call.form.content_type(), {}, std::move(body)});
}

Result<Response> create_object(Call& call) {
  TRY_ASSIGN(std::string body, json_body(call.request, *call.served.kind->type));
  TRY_ASSIGN(registry::Draft draft, call.registry.decode(call.served, body, call.context));
  std::string where = call.resource.kind->namespaced ? call.info.namespace_ : "";
  TRY_ASSIGN(Object object, call.registry.create(call.resource, where, std::move(draft), call.context));
  if (call.resource.strategy.answers_status)
    return Response(success_reply(201, {}, call.form.protobuf));
  return answer(call, 201, object);
}

Result<Response> update_object(Call& call) {
  TRY_ASSIGN(std::string body, json_body(call.request, *call.served.kind->type));
  TRY_ASSIGN(registry::Draft draft, call.registry.decode(call.served, body, call.context));
  TRY_ASSIGN(registry::UpdateResult result, call.registry.update(call.resource, call.key(), std::move(draft),
                                                                 call.info.subresource, call.context));
  return answer(call, result.created ? 201 : 200, result.object);
}

Result<Response> patch_object(Call& call) {
  TRY_ASSIGN(PatchType type, patch_type(call.request));
  TRY(patch_options(call, type));
  if (type == PatchType::Apply) {
    TRY_ASSIGN(registry::UpdateResult result, call.registry.apply(call.served, call.key(), call.request.body,
                                                                  call.info.subresource, call.context));
    return answer(call, result.created ? 201 : 200, result.object);
  }
  bool strategic = type == PatchType::StrategicMerge;
  if (strategic && call.served.kind->type->open)  // nobody knows how its lists merge
    return error(Code::UnsupportedMediaType,
                 "the body of the request was in an unknown format - accepted media types include: "
                 "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
  TRY_ASSIGN(Object object, call.registry.patch(call.served, call.key(), type, call.request.body,
                                                call.info.subresource, call.context));
  return answer(call, 200, object);
}

Result<Response> delete_object(Call& call) {
  TRY_ASSIGN(client::DeleteOptions options, delete_options(call, call.context));
  TRY_ASSIGN(registry::Removal removal,
             call.registry.remove(call.resource, call.key(), options, call.context));
  if (!removal.gone || call.resource.strategy.returns_deleted) return answer(call, 200, removal.object);
  const api::KindInfo& kind = *call.served.kind;
  std::string uid = removal.object.metadata()->uid;
  return Response(success_reply(200, {call.info.name, kind.group, kind.plural, uid}, call.form.protobuf));
}

Result<Response> delete_collection(Call& call) {
  TRY_ASSIGN(ListQuery query, list_query(call));
  TRY_ASSIGN(client::DeleteOptions options, delete_options(call, call.context));
  registry::ListPage page;
  TRY_ASSIGN(page.items, call.registry.remove_collection(call.resource, query, options, call.context));
  page.revision = call.registry.revision();
  TRY_ASSIGN(Chunk body, write_list(call.form, page, call.now));
  return Response(Reply{200, call.form.content_type(), {}, std::move(body)});
}

Status patch_options(Call& call, PatchType type) {
  constexpr const char* kInvalid = "PatchOptions.meta.k8s.io \"\" is invalid: ";
  bool applies = type == PatchType::Apply;
  if (!applies && call.request.query.contains("force"))
    return error(Code::Invalid, "{}force: Forbidden: may not be specified for non-apply patch", kInvalid);
  // Only appliers must say who they are: a user agent is no name to own fields by.
  if (applies) call.context.field_manager = call.request.parameter("fieldManager");
  call.context.force = applies && is_true(call.request, "force");
  return ok();
}

Result<PatchType> patch_type(const Request& request) {
  std::string type = split(request.header("Content-Type"), ';').empty()
                         ? ""
                         : split(request.header("Content-Type"), ';').front();
  type.erase(type.find_last_not_of(' ') + 1);
  if (type == "application/json-patch+json") return PatchType::Json;
  if (type == "application/merge-patch+json") return PatchType::Merge;
  if (type == "application/strategic-merge-patch+json") return PatchType::StrategicMerge;
  if (type == "application/apply-patch+yaml") return PatchType::Apply;
  return error(Code::UnsupportedMediaType,
               "the body of the request was in an unknown format - accepted media types include: "
               "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml, "
               "application/strategic-merge-patch+json");
}

Result<std::string> json_body(const Request& request, const api::TypeInfo& type) {
  std::string_view media = request.header("Content-Type");
  media = media.substr(0, media.find(';'));
  while (media.ends_with(' ')) media.remove_suffix(1);
  if (media.empty() || media == "application/json") return request.body;
  // Custom resources have no field numbers.
  if (media == api::kProtobufType && !type.open) return api::json_from_protobuf(request.body, type);
  return error(
      Code::UnsupportedMediaType,
      "the body of the request was in an unknown format - accepted media types include: application/json, {}",
      api::kProtobufType);
}

}  // namespace skiff::apiserver
