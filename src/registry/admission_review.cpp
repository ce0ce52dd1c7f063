#include "registry/admission_review.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/json.hpp"
#include "base/encoding.hpp"

namespace skiff::registry {

using nlohmann::json;

namespace {

json user_info(const User& user) {
  json info = {{"username", user.name}, {"groups", user.groups}};
  if (!user.uid.empty()) info["uid"] = user.uid;
  if (!user.extra.empty()) info["extra"] = user.extra;
  return info;
}

json options_of(const Attributes& attributes) {
  const RequestContext& request = attributes.context.request;
  const char* kind = "CreateOptions";
  if (attributes.operation == Operation::Update) kind = request.verb == "patch" ? "PatchOptions" : "UpdateOptions";
  if (attributes.operation == Operation::Delete) kind = "DeleteOptions";
  json options = {{"kind", kind}, {"apiVersion", "meta.k8s.io/v1"}};
  if (attributes.dry_run()) options["dryRun"] = {"All"};
  if (const client::DeleteOptions* deletion = attributes.deletion) {
    if (deletion->grace_seconds) options["gracePeriodSeconds"] = *deletion->grace_seconds;
    if (!deletion->propagation.empty()) options["propagationPolicy"] = deletion->propagation;
    if (!deletion->uid.empty()) options["preconditions"]["uid"] = deletion->uid;
    if (!deletion->resource_version.empty()) options["preconditions"]["resourceVersion"] = deletion->resource_version;
    return options;
  }
  if (!request.field_manager.empty()) options["fieldManager"] = request.field_manager;
  if (request.force && request.verb == "patch") options["force"] = true;
  return options;
}

json kind_of_view(const Attributes& attributes, const WebhookView& view) {
  if (attributes.operation == Operation::Connect)
    return {{"group", ""}, {"version", "v1"}, {"kind", attributes.connect_kind}};
  const api::KindInfo& own = attributes.object ? *attributes.object->kind : attributes.old.kind();
  if (&own != attributes.resource.kind) return {{"group", own.group}, {"version", own.version}, {"kind", own.kind}};
  const char* kind = view.served ? view.served->kind->kind : own.kind;
  return {{"group", view.group}, {"version", view.version}, {"kind", kind}};
}

json resource_of_view(const Attributes& attributes, const WebhookView& view) {
  return {{"group", view.group}, {"version", view.version}, {"resource", attributes.resource.kind->plural}};
}

// An object in the version that the webhook asked for.
Result<std::string> seen_as(const Attributes& attributes, const WebhookView& view, const AnyRef& object) {
  std::string text = api::encode_json(*object.kind().type, object.get());
  if (&object.kind() != attributes.resource.kind || view.served == nullptr) return text;
  return in_version(*view.served, text);
}

std::string review_version(const Webhook& webhook) {
  for (const std::string& version : *webhook.review_versions)
    if (version == "v1" || version == "v1beta1") return "admission.k8s.io/" + version;
  return "admission.k8s.io/v1";
}

std::string text_at(const json& object, const char* name) {
  auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

Error invalid_answer(std::string why) { return Error(Code::Internal, "received invalid webhook response: " + std::move(why)); }

Code code_of(int status) {
  switch (status) {
    case 401: return Code::Unauthorized;
    case 403: return Code::Forbidden;
    case 404: return Code::NotFound;
    case 405: return Code::MethodNotAllowed;
    case 409: return Code::Conflict;
    case 410: return Code::Gone;
    case 413: return Code::TooLarge;
    case 422: return Code::Invalid;
    case 429: return Code::TooManyRequests;
    case 503: return Code::Unavailable;
    case 504: return Code::Timeout;
    default: return status >= 500 ? Code::Internal : Code::BadRequest;
  }
}

// webhookerrors.ToStatusErr.
Error refusal_of(const Webhook& webhook, const json& status) {
  std::string message = fmt::format("admission webhook {} denied the request", api::quote(webhook.name));
  std::string reason = text_at(status, "reason"), explained = text_at(status, "message");
  if (!explained.empty()) message += ": " + explained;
  else if (!reason.empty()) message += ": " + reason;
  else message += " without explanation";
  auto found = status.find("code");
  int code = found != status.end() && found->is_number_integer() ? found->get<int>() : 0;
  auto detail = std::make_shared<api::StatusDetail>();
  detail->undecorated = reason.empty();  // Kubernetes adds no reason of its own
  return Error(code_of(code), std::move(message)).with(std::move(detail));
}

}  // namespace

Result<ReviewRequest> write_review(const Registry& registry, const Webhook& webhook, const Attributes& attributes,
                                   const WebhookView& view) {
  ReviewRequest review;
  review.uid = attributes.context.random.uuid();
  review.api_version = review_version(webhook);
  WebhookView asked = requested_view(registry, attributes);
  json request = {{"uid", review.uid},
                  {"kind", kind_of_view(attributes, view)},
                  {"resource", resource_of_view(attributes, view)},
                  {"requestKind", kind_of_view(attributes, asked)},
                  {"requestResource", resource_of_view(attributes, asked)},
                  {"operation", to_string(attributes.operation)},
                  {"userInfo", user_info(attributes.context.request.user)},
                  {"object", nullptr},
                  {"oldObject", nullptr},
                  {"dryRun", attributes.dry_run()},
                  {"options", nullptr}};
  if (!attributes.subresource.empty()) request["subResource"] = request["requestSubResource"] = attributes.subresource;
  if (!attributes.key.name.empty()) request["name"] = attributes.key.name;
  if (!attributes.key.namespace_.empty()) request["namespace"] = attributes.key.namespace_;
  if (attributes.operation == Operation::Connect) {
    review.object = attributes.connect_options;
  } else {
    request["options"] = options_of(attributes);
    if (attributes.object) {
      TRY_ASSIGN(review.object, seen_as(attributes, view, attributes.object->any()));
    }
  }
  if (!review.object.empty()) {
    TRY_ASSIGN(request["object"], api::parse_json(review.object));
  }
  if (attributes.old) {
    TRY_ASSIGN(std::string old, seen_as(attributes, view, attributes.old));
    TRY_ASSIGN(request["oldObject"], api::parse_json(old));
  }
  json document = {{"kind", "AdmissionReview"}, {"apiVersion", review.api_version}, {"request", std::move(request)}};
  review.json = document.dump();
  return review;
}

Result<ReviewAnswer> read_review(const Webhook& webhook, const ReviewRequest& request, const std::string& body) {
  json document = json::parse(body, nullptr, false);
  if (!document.is_object()) return invalid_answer("the answer is not a JSON object");
  bool v1 = request.api_version == "admission.k8s.io/v1";
  std::string version = text_at(document, "apiVersion"), kind = text_at(document, "kind");
  if (v1 && (version != request.api_version || kind != "AdmissionReview"))
    return invalid_answer(fmt::format("expected webhook response of {}, Kind=AdmissionReview, got {}, Kind={}",
                                      request.api_version, version.empty() ? "/" : version, kind));
  auto found = document.find("response");
  if (found == document.end() || !found->is_object()) return Error(Code::Internal, "webhook response was absent");
  const json& response = *found;
  if (v1 && text_at(response, "uid") != request.uid)
    return invalid_answer(fmt::format("expected response.uid={}, got {}", api::quote(request.uid),
                                      api::quote(text_at(response, "uid"))));
  ReviewAnswer answer;
  auto allowed = response.find("allowed");
  answer.allowed = allowed != response.end() && allowed->is_boolean() && allowed->get<bool>();
  auto warnings = response.find("warnings");
  if (warnings != response.end() && warnings->is_array())
    for (const json& one : *warnings)
      if (one.is_string()) answer.warnings.push_back(one.get<std::string>());
  if (!answer.allowed) {
    auto status = response.find("status");
    answer.refusal = refusal_of(webhook, status != response.end() && status->is_object() ? *status : json::object());
    return answer;
  }
  std::string patch = text_at(response, "patch"), type = text_at(response, "patchType");
  if (patch.empty()) return answer;
  if (v1 && type != "JSONPatch")
    return invalid_answer(fmt::format("webhook returned response.patchType of {}, expected JSONPatch", api::quote(type)));
  std::optional<std::string> decoded = base64_decode(patch);
  if (!decoded) return invalid_answer("response.patch is not base64");
  answer.patch = std::move(*decoded);
  return answer;
}

}  // namespace skiff::registry
