// MutatingWebhookConfiguration and ValidatingWebhookConfiguration (pkg/apis/admissionregistration/validation).

#include <algorithm>
#include <set>

#include "api/gen/admissionregistration.hpp"
#include "base/encoding.hpp"
#include "registry/kinds/admission_rules.hpp"
#include "registry/kinds/client_config.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

using api::FieldErrors;
using api::quote;
using Names = std::vector<std::string>;

constexpr int kMaxTimeout = 30;

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
    errors.invalid(at, json_of(versions), "must include at least one of v1, v1beta1");
}

template <class Hook>
void validate_hook(const Hook& hook, const std::string& at, FieldErrors& errors) {
  validate_hook_name(hook.name, at + ".name", errors);
  for (size_t i = 0; i < hook.rules.size(); ++i)
    check_admission_rule(hook.rules[i], fmt::format("{}.rules[{}]", at, i), errors);
  check_known(hook.failurePolicy, {"Fail", "Ignore"}, at + ".failurePolicy", errors);
  check_known(hook.matchPolicy, {"Equivalent", "Exact"}, at + ".matchPolicy", errors);
  if (hook.sideEffects.empty()) errors.required(at + ".sideEffects", "must specify one of None, NoneOnDryRun");
  check_known(hook.sideEffects, {"None", "NoneOnDryRun"}, at + ".sideEffects", errors);
  if (hook.timeoutSeconds && (*hook.timeoutSeconds < 1 || *hook.timeoutSeconds > kMaxTimeout))
    errors.invalid(at + ".timeoutSeconds", std::to_string(*hook.timeoutSeconds),
                   "the timeout value must be between 1 and 30 seconds");
  if (hook.namespaceSelector) check_label_selector(*hook.namespaceSelector, Path(at + ".namespaceSelector"), errors);
  if (hook.objectSelector) check_label_selector(*hook.objectSelector, Path(at + ".objectSelector"), errors);
  validate_client_config(hook.clientConfig, at + ".clientConfig", errors);
  validate_review_versions(hook.admissionReviewVersions, at + ".admissionReviewVersions", errors);
  if constexpr (requires { hook.reinvocationPolicy; })
    check_known(hook.reinvocationPolicy, {"IfNeeded", "Never"}, at + ".reinvocationPolicy", errors);
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
