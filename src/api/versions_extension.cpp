// Old versions of policy, access control, flow control, admission and custom resource definitions.

#include "api/version_rules.hpp"

namespace skiff::api {

using Json = nlohmann::json;

// ---- PodDisruptionBudget: an empty selector chose nothing, today it chooses all

namespace {

constexpr char kEmptySelectorKey[] = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match";

Json marked_selector(const char* operator_) {
  return {{"matchExpressions", Json::array({{{"key", kEmptySelectorKey}, {"operator", operator_}}})}};
}

}  // namespace

Status budget_from_beta(Json& object) {
  Json* selector = find_at(object, {"spec", "selector"});
  if (selector == nullptr) return ok();
  if (*selector == Json::object()) *selector = marked_selector("Exists");
  else if (*selector == marked_selector("DoesNotExist")) *selector = Json::object();
  return ok();
}

void budget_to_beta(Json& object) {
  Json* selector = find_at(object, {"spec", "selector"});
  if (selector == nullptr) return;
  if (*selector == Json::object()) *selector = marked_selector("DoesNotExist");
  else if (*selector == marked_selector("Exists")) *selector = Json::object();
}

// ---- access

namespace {
constexpr char kRbacGroup[] = "rbac.authorization.k8s.io";
}

Status binding_from_alpha(Json& object) {
  each_at(object, {"subjects"}, [](Json& subject) {
    Json version = take(subject, "apiVersion");
    if (subject.contains("kind") && subject["kind"] == "User" && subject.contains("name") && subject["name"] == "*") {
      subject["kind"] = "Group";
      subject["name"] = "system:authenticated";
    }
    if (!version.is_string()) return;
    const std::string text = version.get<std::string>();
    const size_t slash = text.find('/');
    if (slash != std::string::npos) fill_at(subject, {"apiGroup"}, text.substr(0, slash));
  });
  return ok();
}

void binding_to_alpha(Json& object) {
  each_at(object, {"subjects"}, [](Json& subject) {
    const Json group = take(subject, "apiGroup");
    subject["apiVersion"] = group == kRbacGroup ? "rbac.authorization.k8s.io/v1alpha1" : "v1";
  });
}

Status access_review_from_beta(Json& object) {
  if (Json* spec = object_at(object, {"spec"})) rename(*spec, "group", "groups");
  return ok();
}

void access_review_to_beta(Json& object) {
  if (Json* spec = object_at(object, {"spec"})) rename(*spec, "groups", "group");
}

Status signing_request_from_beta(Json& object) {
  fill_at(object, {"spec", "signerName"}, "kubernetes.io/legacy-unknown");
  fill_at(object, {"spec", "usages"}, Json::array({"digital signature", "key encipherment"}));
  each_at(object, {"status", "conditions"}, [](Json& condition) { fill_at(condition, {"status"}, "True"); });
  return ok();
}

// ---- flow control, runtime classes

Status priority_level_from_beta(Json& object) {
  if (Json* limited = object_at(object, {"spec", "limited"})) {
    rename(*limited, "assuredConcurrencyShares", "nominalConcurrencyShares");
    if (const Json* shares = find_at(*limited, {"nominalConcurrencyShares"}); shares == nullptr || *shares == 0)
      (*limited)["nominalConcurrencyShares"] = 30;
  }
  return ok();
}

void priority_level_to_beta(Json& object) {
  if (Json* limited = object_at(object, {"spec", "limited"}))
    rename(*limited, "nominalConcurrencyShares", "assuredConcurrencyShares");
}

Status runtime_class_from_alpha(Json& object) {
  Json spec = take(object, "spec");
  if (!spec.is_object()) return ok();
  rename(spec, "runtimeHandler", "handler");
  for (auto& [name, value] : spec.items()) object[name] = value;
  return ok();
}

void runtime_class_to_alpha(Json& object) {
  Json spec = Json::object();
  for (const char* name : {"handler", "overhead", "scheduling"})
    if (Json value = take(object, name); !value.is_null()) spec[name] = std::move(value);
  rename(spec, "handler", "runtimeHandler");
  object["spec"] = std::move(spec);
}

// ---- admission

Status webhooks_from_beta(Json& object) {
  each_at(object, {"webhooks"}, [](Json& webhook) {
    fill_at(webhook, {"failurePolicy"}, "Ignore");
    fill_at(webhook, {"matchPolicy"}, "Exact");
    fill_at(webhook, {"timeoutSeconds"}, 30);
    fill_at(webhook, {"sideEffects"}, "Unknown");
    fill_at(webhook, {"admissionReviewVersions"}, Json::array({"v1beta1"}));
  });
  return ok();
}

Status policy_binding_from_alpha(Json& object) {
  fill_at(object, {"spec", "validationActions"}, Json::array({"Deny"}));
  return ok();
}

// ---- CustomResourceDefinition: one schema, set of columns and subresources for all versions

namespace {

// Moves what stood once in the spec into every version that has none of its own.
void copy_to_versions(Json& spec, const char* name, const Json& value) {
  if (value.is_null()) return;
  each_at(spec, {"versions"}, [&](Json& version) { fill_at(version, {name}, value); });
}

void conversion_from_beta(Json& conversion) {
  Json webhook = Json::object();
  if (Json config = take(conversion, "webhookClientConfig"); !config.is_null()) webhook["clientConfig"] = config;
  Json versions = take(conversion, "conversionReviewVersions");
  if (webhook.empty() && versions.is_null()) return;
  webhook["conversionReviewVersions"] = versions.is_null() ? Json::array({"v1beta1"}) : versions;
  fill_at(conversion, {"webhook"}, std::move(webhook));
}

void conversion_to_beta(Json& conversion) {
  Json webhook = take(conversion, "webhook");
  if (!webhook.is_object()) return;
  if (Json config = take(webhook, "clientConfig"); !config.is_null()) conversion["webhookClientConfig"] = config;
  if (Json versions = take(webhook, "conversionReviewVersions"); !versions.is_null())
    conversion["conversionReviewVersions"] = versions;
}

Json open_schema() {
  return {{"openAPIV3Schema", {{"type", "object"}, {"x-kubernetes-preserve-unknown-fields", true}}}};
}

// What v1 asks of a schema and v1beta1 did not: a type at its root, and that unknown fields are kept on purpose.
void make_structural(Json& version, bool keeps_unknown) {
  Json* schema = find_at(version, {"schema", "openAPIV3Schema"});
  if (schema == nullptr || !schema->is_object()) {
    version["schema"] = open_schema();
    return;
  }
  fill_at(*schema, {"type"}, "object");
  if (keeps_unknown) fill_at(*schema, {"x-kubernetes-preserve-unknown-fields"}, true);
}

}  // namespace

Status definition_from_beta(Json& object) {
  Json* spec = object_at(object, {"spec"});
  if (spec == nullptr) return ok();
  fill_at(*spec, {"scope"}, "Namespaced");
  Json version = take(*spec, "version");
  const Json* versions = find_at(*spec, {"versions"});
  if (!version.is_null() && (versions == nullptr || versions->empty()))
    (*spec)["versions"] = Json::array({{{"name", std::move(version)}, {"served", true}, {"storage", true}}});
  copy_to_versions(*spec, "schema", take(*spec, "validation"));
  copy_to_versions(*spec, "subresources", take(*spec, "subresources"));
  Json columns = take(*spec, "additionalPrinterColumns");
  copy_to_versions(*spec, "additionalPrinterColumns", columns);
  const Json keeps = take(*spec, "preserveUnknownFields");
  const bool keeps_unknown = !keeps.is_boolean() || keeps.get<bool>();
  each_at(*spec, {"versions"}, [&](Json& one) {
    make_structural(one, keeps_unknown);
    each_at(one, {"additionalPrinterColumns"}, [](Json& column) { rename(column, "JSONPath", "jsonPath"); });
  });
  if (Json* conversion = object_at(*spec, {"conversion"}))
    conversion_from_beta(*conversion);
  return ok();
}

void definition_to_beta(Json& object) {
  Json* spec = object_at(object, {"spec"});
  if (spec == nullptr) return;
  Json* versions = find_at(*spec, {"versions"});
  if (versions != nullptr && versions->is_array() && !versions->empty() && (*versions)[0].is_object()) {
    (*spec)["version"] = (*versions)[0].value("name", "");
    each_at(*spec, {"versions"}, [](Json& one) {
      each_at(one, {"additionalPrinterColumns"}, [](Json& column) { rename(column, "jsonPath", "JSONPath"); });
    });
  }
  fill_at(*spec, {"preserveUnknownFields"}, false);
  if (Json* conversion = object_at(*spec, {"conversion"})) conversion_to_beta(*conversion);
}

}  // namespace skiff::api
