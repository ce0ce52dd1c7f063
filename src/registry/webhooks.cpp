#include "registry/webhooks.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "api/json.hpp"
#include "api/patch.hpp"
#include "base/log.hpp"

namespace skiff::registry {
namespace {

// Nobody may lock the cluster out of its own admission.
bool is_exempt(const Attributes& attributes) {
  return std::string_view(attributes.resource.kind->group) == "admissionregistration.k8s.io";
}

void add_warnings(const Attributes& attributes, const std::vector<std::string>& texts) {
  auto& all = attributes.context.request.warnings;
  for (const std::string& text : texts)
    if (std::find(all.begin(), all.end(), text) == all.end()) all.push_back(text);
}

Error call_failure(const Webhook& webhook, const std::string& why) {
  return error(Code::Internal, "failed calling webhook {}: {}", api::quote(webhook.name), why);
}

WebhookTarget target_of(const api::WebhookClientConfig& config) {
  WebhookTarget target{.url = config.url, .ca_bundle = config.caBundle.data};
  if (config.service) {
    target.service_namespace = config.service->namespace_;
    target.service_name = config.service->name;
    target.service_path = config.service->path;
    target.service_port = config.service->port.value_or(443);
  }
  return target;
}

}  // namespace

Webhooks::Webhooks(Registry& registry)
    : registry_(registry),
      mutating_(registry.of(api::kind_of<api::MutatingWebhookConfiguration>())),
      validating_(registry.of(api::kind_of<api::ValidatingWebhookConfiguration>())) {}

// In the order of the configurations' names, as the list is, and within one as it says.
template <class Configuration>
std::vector<Webhook> Webhooks::configured(const Resource& resource) const {
  std::vector<Webhook> all;
  if (registry_.count(resource) == 0) return all;
  Result<ListPage> page = registry_.list(resource, {});
  if (!page.ok()) return all;  // a list of the newest state reads memory only
  for (const Object& object : page.value().items) {
    client::AnyRef any = object.any();
    for (const auto& hook : static_cast<const Configuration*>(any.get())->webhooks) all.emplace_back(any, hook);
  }
  return all;
}

Result<ReviewAnswer> Webhooks::exchange(const Webhook& webhook, const ReviewRequest& request) {
  if (caller_ == nullptr) return error(Code::Internal, "failed to call webhook: nothing here can call one");
  Result<std::string> body =
      caller_->post(target_of(*webhook.client_config), request.json, std::chrono::seconds(webhook.timeout_seconds));
  if (!body.ok()) return error(Code::Internal, "failed to call webhook: {}", body.error().message());
  return read_review(webhook, request, body.value());
}

Result<std::optional<ReviewRequest>> Webhooks::prepare(const Webhook& webhook, const Attributes& attributes) {
  TRY_ASSIGN(std::optional<WebhookView> view, match(registry_, webhook, attributes));
  if (!view) return std::optional<ReviewRequest>();
  bool harmless = webhook.side_effects == "None" || webhook.side_effects == "NoneOnDryRun";
  if (attributes.dry_run() && !harmless)
    return api::bad_request(fmt::format("admission webhook {} does not support dry run", api::quote(webhook.name)));
  TRY_ASSIGN(ReviewRequest request, write_review(registry_, webhook, attributes, *view));
  return std::optional<ReviewRequest>(std::move(request));
}

Result<std::optional<ReviewAnswer>> Webhooks::ask(const Webhook& webhook, const ReviewRequest& request) {
  Result<ReviewAnswer> answer = exchange(webhook, request);
  if (answer.ok()) return std::optional<ReviewAnswer>(std::move(answer).value());
  Error failure = call_failure(webhook, answer.error().message());
  if (!webhook.ignores_failure) return failure;
  log::warning("admission", "{}; failing open", failure.message());
  return std::optional<ReviewAnswer>();
}

Result<bool> Webhooks::patch(const Webhook& webhook, Attributes& attributes, const ReviewAnswer& answer) {
  if (answer.patch.empty()) return false;
  if (!attributes.object)
    return call_failure(webhook, fmt::format("webhook attempted to modify the object, which is not supported for {}",
                                             to_string(attributes.operation)));
  // The patch is for the object as the webhook saw it.
  TRY_ASSIGN(std::optional<WebhookView> view, match(registry_, webhook, attributes));
  Draft& draft = *attributes.object;
  std::string text = api::encode_json(*draft.kind->type, draft.value.get());
  bool converted = view && view->served && draft.kind == attributes.resource.kind;
  if (converted) {
    TRY_ASSIGN(text, in_version(*view->served, text));
  }
  TRY_ASSIGN(nlohmann::json document, api::parse_json(text));
  Result<nlohmann::json> operations = api::parse_json(answer.patch);
  if (!operations.ok()) return call_failure(webhook, operations.error().message());
  Result<nlohmann::json> patched = api::apply_json_patch(document, operations.value());
  if (!patched.ok()) return call_failure(webhook, patched.error().message());
  if (patched.value() == document) return false;
  RequestContext lenient;
  lenient.field_validation = RequestContext::FieldValidation::Ignore;
  Result<Draft> next = converted ? registry_.decode(*view->served, patched.value().dump(), lenient)
                                 : registry_.decode(*draft.kind, patched.value().dump(), lenient);
  if (!next.ok()) return call_failure(webhook, next.error().message());
  bool changed = !draft.kind->type->ops->equal(next.value().value.get(), draft.value.get());
  draft.value = std::move(next.value().value);
  return changed;
}

Result<bool> Webhooks::mutate_by(const Webhook& webhook, Attributes& attributes) {
  TRY_ASSIGN(std::optional<ReviewRequest> request, prepare(webhook, attributes));
  if (!request) return false;
  TRY_ASSIGN(std::optional<ReviewAnswer> answer, ask(webhook, *request));
  if (!answer) return false;
  add_warnings(attributes, answer->warnings);
  if (answer->refusal) return std::move(*answer->refusal);
  return patch(webhook, attributes, *answer);
}

Status Webhooks::mutate(Attributes& attributes, const std::function<Status()>& plugins) {
  std::vector<Webhook> all = configured<api::MutatingWebhookConfiguration>(mutating_);
  if (all.empty() || is_exempt(attributes)) return ok();
  size_t changed = 0;  // one behind the last webhook that changed the object
  for (size_t i = 0; i < all.size(); ++i) {
    TRY_ASSIGN(bool now, mutate_by(all[i], attributes));
    if (now) changed = i + 1;
  }
  if (changed == 0) return ok();
  const api::KindInfo& kind = *attributes.object->kind;
  std::shared_ptr<void> before = kind.type->ops->copy(attributes.object->value.get());
  TRY(plugins());
  if (!kind.type->ops->equal(before.get(), attributes.object->value.get())) changed = all.size() + 1;
  // Those that came before the last change may look once more.
  for (size_t i = 0; i + 1 < changed && i < all.size(); ++i)
    if (all[i].reinvoked) TRY(mutate_by(all[i], attributes));
  return ok();
}

Status Webhooks::validate(const Attributes& attributes) {
  std::vector<Webhook> all = configured<api::ValidatingWebhookConfiguration>(validating_);
  if (all.empty() || is_exempt(attributes)) return ok();
  std::vector<std::pair<const Webhook*, ReviewRequest>> asked;
  for (const Webhook& webhook : all) {
    TRY_ASSIGN(std::optional<ReviewRequest> request, prepare(webhook, attributes));
    if (request) asked.emplace_back(&webhook, std::move(*request));
  }
  if (asked.empty()) return ok();
  std::vector<Result<std::optional<ReviewAnswer>>> answers(asked.size(), std::optional<ReviewAnswer>());
  auto work = [&](size_t i) { answers[i] = ask(*asked[i].first, asked[i].second); };
  {
    std::vector<std::jthread> threads;  // joined at the end of the block
    for (size_t i = 1; i < asked.size(); ++i) threads.emplace_back(work, i);
    work(0);
  }
  for (const auto& answer : answers) {
    TRY(answer);
    if (!answer.value()) continue;
    add_warnings(attributes, answer.value()->warnings);
    if (answer.value()->refusal) return *answer.value()->refusal;
  }
  return ok();
}

}  // namespace skiff::registry
