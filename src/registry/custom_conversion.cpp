#include "registry/custom_conversion.hpp"

#include <nlohmann/json.hpp>

#include "api/json.hpp"
#include "registry/custom_strategy.hpp"

namespace skiff::registry {
namespace {

using Json = nlohmann::json;

constexpr Duration kWebhookTimeout = 30s;

std::string text(const Json& object, const char* name) {
  if (!object.is_object()) return "";
  auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

class NoneConverter final : public Converter {
 public:
  bool blocks() const override { return false; }
  Status convert(std::vector<Json>& objects, const std::string& api_version) const override {
    for (Json& object : objects) object["apiVersion"] = api_version;
    return ok();
  }
};

// Copies labels and annotations from the converted object; the rest of the metadata is not the webhook's to change.
Status restore_metadata(const Json& original, Json& converted) {
  const Json before = original.value("metadata", Json::object()), after = converted.value("metadata", Json());
  if (!after.is_object())
    return error(Code::Internal, "invalid metadata of type {} in converted object", after.type_name());
  for (const char* name : {"name", "namespace", "uid"})
    if (text(before, name) != text(after, name))
      return error(Code::Internal, "must have the same {}: {} != {}",
                   std::string_view(name) == "uid" ? "UID" : name, text(before, name), text(after, name));
  Json metadata = before;
  for (const char* name : {"labels", "annotations"}) {
    auto found = after.find(name);
    if (found == after.end() || found->is_null()) metadata.erase(name);
    else metadata[name] = *found;
  }
  converted["metadata"] = std::move(metadata);
  return ok();
}

class WebhookConverter final : public Converter {
 public:
  WebhookConverter(const api::WebhookConversion& webhook, WebhookCaller& caller, Random& random)
      : caller_(caller), random_(random) {
    for (const std::string& version : webhook.conversionReviewVersions) {
      if (version != "v1" && version != "v1beta1") continue;
      review_version_ = version;
      break;
    }
    if (!webhook.clientConfig) return;
    target_.url = webhook.clientConfig->url;
    target_.ca_bundle = webhook.clientConfig->caBundle.data;
    if (const auto& service = webhook.clientConfig->service) {
      target_.service_namespace = service->namespace_;
      target_.service_name = service->name;
      target_.service_path = service->path;
      target_.service_port = service->port.value_or(443);
    }
  }

  bool blocks() const override { return true; }
  Status convert(std::vector<Json>& objects, const std::string& api_version) const override {
    std::vector<size_t> others;  // those that are not yet of that version
    Json asked = Json::array();
    for (size_t i = 0; i < objects.size(); ++i) {
      if (text(objects[i], "apiVersion") == api_version) continue;
      others.push_back(i);
      asked.push_back(objects[i]);
    }
    if (others.empty()) return ok();
    const std::string from = text(asked[0], "apiVersion") + ", Kind=" + text(asked[0], "kind");
    Result<Json> answer = call(std::move(asked), api_version);
    if (!answer.ok())
      return error(Code::Internal, "conversion webhook for {} failed: {}", from, answer.error().message());
    if (answer.value().size() != others.size())
      return error(Code::Internal, "conversion webhook for {} returned {} objects, expected {}", from,
                   answer.value().size(), others.size());
    for (size_t i = 0; i < others.size(); ++i) {
      Status taken = take(objects[others[i]], answer.value()[i], api_version);
      if (!taken.ok())
        return error(Code::Internal, "conversion webhook for {} returned invalid converted object at index {}: {}",
                     from, i, taken.error().message());
    }
    return ok();
  }

 private:
  // The converted objects, an array.
  Result<Json> call(Json objects, const std::string& api_version) const {
    if (review_version_.empty()) return Error(Code::Internal, "no supported conversion review versions");
    const std::string uid = random_.uuid();
    Json review = {{"kind", "ConversionReview"},
                   {"apiVersion", "apiextensions.k8s.io/" + review_version_},
                   {"request", {{"uid", uid}, {"desiredAPIVersion", api_version}, {"objects", std::move(objects)}}}};
    TRY_ASSIGN(std::string body, caller_.post(target_, review.dump(), kWebhookTimeout));
    TRY_ASSIGN(Json answer, api::parse_json(body));
    if (review_version_ == "v1" && (text(answer, "apiVersion") != "apiextensions.k8s.io/v1" ||
                                    text(answer, "kind") != "ConversionReview"))
      return error(Code::Internal,
                   "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got {}, Kind={}",
                   text(answer, "apiVersion"), text(answer, "kind"));
    auto response = answer.is_object() ? answer.find("response") : answer.end();
    if (!answer.is_object() || response == answer.end() || !response->is_object())
      return Error(Code::Internal, "no response provided");
    if (review_version_ == "v1" && text(*response, "uid") != uid)
      return error(Code::Internal, "expected response.uid=\"{}\", got \"{}\"", uid, text(*response, "uid"));
    Json result = response->value("result", Json::object());
    if (text(result, "status") != "Success") {
      std::string message = text(result, "message");
      if (message.empty())
        message = fmt::format("response.result.status was '{}', not 'Success'", text(result, "status"));
      return Error(Code::Internal, std::move(message));
    }
    Json converted = response->value("convertedObjects", Json::array());
    return converted.is_array() ? converted : Json::array();
  }

  static Status take(Json& original, Json& converted, const std::string& api_version) {
    if (!converted.is_object()) return Error(Code::Internal, "not an object");
    if (text(converted, "apiVersion") != api_version)
      return error(Code::Internal, "invalid groupVersion (expected {}, received {})", api_version,
                   text(converted, "apiVersion"));
    if (text(converted, "kind") != text(original, "kind"))
      return error(Code::Internal, "invalid kind (expected {}, received {})", text(original, "kind"),
                   text(converted, "kind"));
    TRY(restore_metadata(original, converted));
    original = std::move(converted);
    return ok();
  }

  WebhookCaller& caller_;
  Random& random_;
  std::string review_version_;
  WebhookTarget target_;
};

}  // namespace

std::unique_ptr<const Converter> none_converter() { return std::make_unique<NoneConverter>(); }

std::unique_ptr<const Converter> webhook_converter(const api::WebhookConversion& webhook, WebhookCaller& caller,
                                                   Random& random) {
  return std::make_unique<WebhookConverter>(webhook, caller, random);
}

bool may_block(const ServedKind& served) {
  auto custom = dynamic_cast<const CustomConversion*>(served.conversion);
  return custom && custom->blocks();
}

Status CustomConversion::to_stored(std::vector<Json>& objects) const {
  if (served_ == stored_) return ok();
  for (const Json& object : objects) TRY(check(object));
  return converter_->convert(objects, stored_->kind().api_version());
}

// What a client sends is held against the schema of the version it speaks.
Status CustomConversion::check(const Json& object) const {
  api::FieldErrors errors;
  validate_document(*served_, object, nullptr, errors);
  if (errors.empty()) return ok();
  return api::invalid(served_->kind(), text(object.value("metadata", Json::object()), "name"), errors);
}

Status CustomConversion::from_stored(std::vector<Json>& objects) const {
  TRY(converter_->convert(objects, served_->kind().api_version()));
  for (Json& object : objects) served_->shape(object);
  return ok();
}

}  // namespace skiff::registry
