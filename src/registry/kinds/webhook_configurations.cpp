// MutatingWebhookConfiguration and ValidatingWebhookConfiguration (pkg/apis/admissionregistration/validation).

#include <algorithm>
#include <set>

#include "api/gen/admissionregistration.hpp"
#include "base/encoding.hpp"
#include "registry/kinds/client_config.hpp"
#include "registry/kinds/field_checks.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

using api::FieldErrors;
using api::quote;
using Names = std::vector<std::string>;

constexpr int kMaxTimeout = 30;

std::string list_text(const Names& names) {
  Names all;
  for (const std::string& name : names) all.push_back(quote(name));
  return "[" + join(all, ",") + "]";
}

bool has(const Names& names, std::string_view wanted) { return std::ranges::find(names, wanted) != names.end(); }

void require_one_of(const std::string& value, const Names& known, const std::string& at, FieldErrors& errors) {
  if (!value.empty() && !has(known, value)) errors.not_supported(at, value, known);
}

// A list in which `*` stands alone.
void validate_wildcard(const Names& list, const std::string& at, const char* others, FieldErrors& errors) {
  if (list.empty()) errors.required(at);
  else if (list.size() > 1 && has(list, "*"))
    errors.invalid(at, list_text(list), fmt::format("if '*' is present, must not specify other {}", others));
}

void validate_resources(const Names& resources, const std::string& at, FieldErrors& errors) {
  if (resources.empty()) return errors.required(at);
  std::set<std::string> whole, parts;
  for (size_t i = 0; i < resources.size(); ++i) {
    const std::string& one = resources[i];
    std::string where = fmt::format("{}[{}]", at, i);
    size_t slash = one.find('/');
    if (one.empty()) errors.required(where);
    else if (slash == std::string::npos) continue;
    else if (whole.contains(one.substr(0, slash)))
      errors.invalid(where, quote(one), fmt::format("if '{}/*' is present, must not specify {}", one.substr(0, slash), one));
    else if (parts.contains(one.substr(slash + 1)))
      errors.invalid(where, quote(one), fmt::format("if '*/{}' is present, must not specify {}", one.substr(slash + 1), one));
    else if (one.ends_with("/*")) whole.insert(one.substr(0, slash));
    else if (one.starts_with("*/")) parts.insert(one.substr(2));
  }
  if (resources.size() > 1 && has(resources, "*/*"))
    errors.invalid(at, list_text(resources), "if '*/*' is present, must not specify other resources");
  bool plain = std::ranges::any_of(resources, [](const std::string& one) { return one != "*" && one.find('/') == std::string::npos; });
  if (has(resources, "*") && plain)
    errors.invalid(at, list_text(resources), "if '*' is present, must not specify other resources without subresources");
}

void validate_rule(const api::RuleWithOperations& rule, const std::string& at, FieldErrors& errors) {
  validate_wildcard(rule.operations, at + ".operations", "operations", errors);
  for (size_t i = 0; i < rule.operations.size(); ++i)
    require_one_of(rule.operations[i], {"*", "CONNECT", "CREATE", "DELETE", "UPDATE"}, fmt::format("{}.operations[{}]", at, i),
                   errors);
  validate_wildcard(rule.apiGroups, at + ".apiGroups", "API groups", errors);
  validate_wildcard(rule.apiVersions, at + ".apiVersions", "API versions", errors);
  for (size_t i = 0; i < rule.apiVersions.size(); ++i)
    if (rule.apiVersions[i].empty()) errors.required(fmt::format("{}.apiVersions[{}]", at, i));
  validate_resources(rule.resources, at + ".resources", errors);
  require_one_of(rule.scope, {"*", "Cluster", "Namespaced"}, at + ".scope", errors);
}

void validate_hook_name(const std::string& name, const std::string& at, FieldErrors& errors) {
  if (name.empty()) return errors.required(at);
  Names problems = api::dns1123_subdomain_problems(name);
  for (const std::string& problem : problems) errors.invalid(at, quote(name), problem);
  if (problems.empty() && std::ranges::count(name, '.') < 2)
    errors.invalid(at, quote(name), "should be a domain with at least three segments separated by dots");
}

void validate_review_versions(const Names& versions, const std::string& at, FieldErrors& errors) {
  if (versions.empty()) return errors.required(at, "must specify one of v1, v1beta1");
  std::set<std::string> seen;
  for (size_t i = 0; i < versions.size(); ++i) {
    std::string where = fmt::format("{}[{}]", at, i);
    if (!seen.insert(versions[i]).second) errors.invalid(where, quote(versions[i]), "duplicate version");
    for (const std::string& problem : api::dns1035_label_problems(versions[i]))
      errors.invalid(where, quote(versions[i]), problem);
  }
  if (!seen.contains("v1") && !seen.contains("v1beta1"))
    errors.invalid(at, list_text(versions), "must include at least one of v1, v1beta1");
}

template <class Hook>
void validate_hook(const Hook& hook, const std::string& at, FieldErrors& errors) {
  validate_hook_name(hook.name, at + ".name", errors);
  for (size_t i = 0; i < hook.rules.size(); ++i) validate_rule(hook.rules[i], fmt::format("{}.rules[{}]", at, i), errors);
  require_one_of(hook.failurePolicy, {"Fail", "Ignore"}, at + ".failurePolicy", errors);
  require_one_of(hook.matchPolicy, {"Equivalent", "Exact"}, at + ".matchPolicy", errors);
  if (hook.sideEffects.empty()) errors.required(at + ".sideEffects", "must specify one of None, NoneOnDryRun");
  require_one_of(hook.sideEffects, {"None", "NoneOnDryRun"}, at + ".sideEffects", errors);
  if (hook.timeoutSeconds && (*hook.timeoutSeconds < 1 || *hook.timeoutSeconds > kMaxTimeout))
    errors.invalid(at + ".timeoutSeconds", std::to_string(*hook.timeoutSeconds),
                   "the timeout value must be between 1 and 30 seconds");
  if (hook.namespaceSelector) check_label_selector(*hook.namespaceSelector, Path(at + ".namespaceSelector"), errors);
  if (hook.objectSelector) check_label_selector(*hook.objectSelector, Path(at + ".objectSelector"), errors);
  validate_client_config(hook.clientConfig, at + ".clientConfig", errors);
  validate_review_versions(hook.admissionReviewVersions, at + ".admissionReviewVersions", errors);
  if constexpr (requires { hook.reinvocationPolicy; })
    require_one_of(hook.reinvocationPolicy, {"IfNeeded", "Never"}, at + ".reinvocationPolicy", errors);
  if (!hook.matchConditions.empty())
    errors.forbidden(at + ".matchConditions",
                     "match conditions are CEL expressions, which this server does not evaluate: a webhook that has them "
                     "would be asked about requests it is not for");
}

template <class Configuration>
void validate_configuration(const Configuration& next, const Configuration*, FieldErrors& errors) {
  std::set<std::string> names;
  for (size_t i = 0; i < next.webhooks.size(); ++i) {
    std::string at = fmt::format("webhooks[{}]", i);
    validate_hook(next.webhooks[i], at, errors);
    if (!next.webhooks[i].name.empty() && !names.insert(next.webhooks[i].name).second)
      errors.duplicate(at + ".name", quote(next.webhooks[i].name));
  }
}

}  // namespace

std::vector<Resource> webhook_configurations() {
  Rules<api::MutatingWebhookConfiguration> mutating;
  mutating.validate = validate_configuration<api::MutatingWebhookConfiguration>;
  mutating.counts_generation = true;
  Rules<api::ValidatingWebhookConfiguration> validating;
  validating.validate = validate_configuration<api::ValidatingWebhookConfiguration>;
  validating.counts_generation = true;
  return {define(mutating), define(validating)};
}

}  // namespace skiff::registry
