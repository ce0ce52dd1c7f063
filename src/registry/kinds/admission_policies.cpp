// Validating and mutating admission policies and their bindings. Their expressions are CEL, which this server does not
// evaluate yet: a policy is kept for those who read it, a binding, which would put it in force, is refused.

#include <algorithm>
#include <set>

#include "registry/kinds/admission_rules.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

using api::quote;

const Path kSpec("spec");
constexpr size_t kMaxConditions = 64, kMaxAuditAnnotations = 20, kMaxValueExpression = 5 * 1024;

std::string_view trimmed(std::string_view text) {
  constexpr char kSpace[] = " \t\r\n\v\f";
  size_t from = text.find_first_not_of(kSpace);
  return from == text.npos ? std::string_view() : text.substr(from, text.find_last_not_of(kSpace) - from + 1);
}

void check_param_kind(const api::ParamKind& kind, const Path& path, FieldErrors& errors) {
  const Path version = path.child("apiVersion");
  size_t slash = kind.apiVersion.find('/');
  if (kind.apiVersion.empty()) errors.required(version);
  else if (slash != kind.apiVersion.rfind('/'))
    errors.invalid(version, quote(kind.apiVersion), "unexpected GroupVersion string: " + kind.apiVersion);
  else {
    std::string group = slash == std::string::npos ? "" : kind.apiVersion.substr(0, slash);
    std::string number = slash == std::string::npos ? kind.apiVersion : kind.apiVersion.substr(slash + 1);
    if (!group.empty()) check_dns_subdomain(group, version, errors);
    if (number.empty()) errors.invalid(version, quote(kind.apiVersion), "version must be specified");
    else add_problems(version, number, api::dns1035_label_problems(number), errors);
  }
  if (!require(kind.kind, path.child("kind"), errors)) return;
  std::string lower = kind.kind;
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  for (const std::string& problem : api::dns1035_label_problems(lower))
    errors.invalid(path.child("kind"), quote(kind.kind), "may have mixed case, but should otherwise match: " + problem);
}

void check_named_rules(const std::vector<api::NamedRuleWithOperations>& rules, const Path& path, const char* field,
                       FieldErrors& errors) {
  for (size_t i = 0; i < rules.size(); ++i) {
    const Path at = path.child(field, i);
    std::set<std::string_view> seen;
    for (size_t n = 0; n < rules[i].resourceNames.size(); ++n) {
      const std::string& name = rules[i].resourceNames[n];
      const Path where = at.child("resourceNames", n);
      add_problems(where, name, api::path_segment_problems(name), errors);
      if (!seen.insert(name).second) errors.duplicate(where, quote(name));
    }
    check_admission_rule(rules[i], at, errors);
  }
}

void check_match(const api::MatchResources& match, const Path& path, FieldErrors& errors) {
  require_one_of(match.matchPolicy, path.child("matchPolicy"), {"Equivalent", "Exact"}, errors);
  auto check_selector = [&](const auto& selector, const Path& at) {
    if (!selector) errors.required(at);
    else check_label_selector(*selector, at, errors);
  };
  check_selector(match.namespaceSelector, path.child("namespaceSelector"));
  check_selector(match.objectSelector, path.child("objectSelector"));
  check_named_rules(match.resourceRules, path, "resourceRules", errors);
  check_named_rules(match.excludeResourceRules, path, "excludeResourceRules", errors);
}

void check_conditions(const std::vector<api::MatchCondition>& conditions, FieldErrors& errors) {
  if (conditions.size() > kMaxConditions) errors.too_many("spec.matchConditions", conditions.size(), kMaxConditions);
  std::set<std::string_view> seen;
  for (size_t i = 0; i < conditions.size(); ++i) {
    const Path at = kSpec.child("matchConditions", i);
    if (trimmed(conditions[i].expression).empty()) errors.required(at.child("expression"));
    if (!require(conditions[i].name, at.child("name"), errors)) continue;
    check_qualified_name(conditions[i].name, at.child("name"), errors);
    if (!seen.insert(conditions[i].name).second) errors.duplicate(at.child("name"), quote(conditions[i].name));
  }
}

bool is_identifier(std::string_view name) {
  auto starts = [](char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  auto goes_on = [&](char c) { return starts(c) || (c >= '0' && c <= '9'); };
  return !name.empty() && starts(name[0]) && std::all_of(name.begin(), name.end(), goes_on) &&
         !is_one_of(name, {"true",  "false",    "null", "in",  "as",   "break",   "const",     "continue", "else", "for",
                           "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void",
                           "while"});
}

void check_variables(const std::vector<api::Variable>& variables, FieldErrors& errors) {
  for (size_t i = 0; i < variables.size(); ++i) {
    const Path at = kSpec.child("variables", i);
    const Path name = at.child("name");
    if (trimmed(variables[i].name).empty()) errors.required(name, "name is not specified");
    else if (!is_identifier(variables[i].name))
      errors.invalid(name, quote(variables[i].name), "name is not a valid CEL identifier");
    if (trimmed(variables[i].expression).empty()) errors.required(at.child("expression"), "expression is not specified");
  }
}

// What both sorts of policies have.
template <class Spec>
void check_policy(const Spec& spec, FieldErrors& errors) {
  require_one_of(spec.failurePolicy, kSpec.child("failurePolicy"), {"Fail", "Ignore"}, errors);
  if (spec.paramKind) check_param_kind(*spec.paramKind, kSpec.child("paramKind"), errors);
  const Path match = kSpec.child("matchConstraints");
  if (!spec.matchConstraints) {
    errors.required(match);
  } else {
    check_match(*spec.matchConstraints, match, errors);
    if (spec.matchConstraints->resourceRules.empty()) errors.required(match.child("resourceRules"));
  }
  check_conditions(spec.matchConditions, errors);
  check_variables(spec.variables, errors);
}

void check_validation(const api::Validation& one, const Path& at, FieldErrors& errors) {
  if (trimmed(one.expression).empty()) errors.required(at.child("expression"), "expression is not specified");
  if (!one.messageExpression.empty() && trimmed(one.messageExpression).empty())
    errors.invalid(at.child("messageExpression"), quote(one.messageExpression), "must be non-empty if specified");
  std::string_view message = trimmed(one.message);
  if (!one.message.empty() && message.empty())
    errors.invalid(at.child("message"), quote(one.message), "message must be non-empty if specified");
  else if (message.find_first_of("\r\n") != message.npos)
    errors.invalid(at.child("message"), quote(one.message), "message must not contain line breaks");
  if (!one.reason.empty())
    check_one_of(one.reason, at.child("reason"), {"Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"}, errors);
}

void check_audit_annotations(const api::ValidatingAdmissionPolicy& policy, FieldErrors& errors) {
  const std::vector<api::AuditAnnotation>& all = policy.spec.auditAnnotations;
  if (all.size() > kMaxAuditAnnotations)
    errors.invalid("spec.auditAnnotations", std::to_string(all.size()),
                   fmt::format("must not have more than {} auditAnnotations", kMaxAuditAnnotations));
  std::set<std::string_view> seen;
  for (size_t i = 0; i < all.size(); ++i) {
    const Path at = kSpec.child("auditAnnotations", i);
    check_qualified_name(policy.metadata.name + "/" + all[i].key, at.child("key"), errors);
    if (!seen.insert(all[i].key).second) errors.duplicate(at.child("key"), quote(all[i].key));
    std::string_view value = trimmed(all[i].valueExpression);
    if (value.empty()) errors.required(at.child("valueExpression"), "valueExpression is not specified");
    else if (value.size() > kMaxValueExpression)
      errors.required(at.child("valueExpression"), fmt::format("must not exceed {} bytes in length", kMaxValueExpression));
  }
}

void validate_validating(const api::ValidatingAdmissionPolicy& policy, const api::ValidatingAdmissionPolicy*,
                         FieldErrors& errors) {
  check_policy(policy.spec, errors);
  constexpr char kNeither[] = "validations or auditAnnotations must contain at least one item";
  if (policy.spec.validations.empty() && policy.spec.auditAnnotations.empty()) {
    errors.required(kSpec.child("validations"), kNeither);
    errors.required(kSpec.child("auditAnnotations"), kNeither);
  }
  for (size_t i = 0; i < policy.spec.validations.size(); ++i)
    check_validation(policy.spec.validations[i], kSpec.child("validations", i), errors);
  check_audit_annotations(policy, errors);
}

void validate_mutating(const api::MutatingAdmissionPolicy& policy, const api::MutatingAdmissionPolicy*,
                       FieldErrors& errors) {
  check_policy(policy.spec, errors);
  require_one_of(policy.spec.reinvocationPolicy, kSpec.child("reinvocationPolicy"), {"IfNeeded", "Never"}, errors);
  if (policy.spec.mutations.empty())
    errors.required(kSpec.child("mutations"), "mutations must contain at least one item");
  for (size_t i = 0; i < policy.spec.mutations.size(); ++i) {
    const api::Mutation& one = policy.spec.mutations[i];
    const Path at = kSpec.child("mutations", i);
    const Path apply = at.child("applyConfiguration");
    const Path patch = at.child("jsonPatch");
    require_one_of(one.patchType, at.child("patchType"), {"ApplyConfiguration", "JSONPatch"}, errors);
    if (one.patchType == "ApplyConfiguration" && (!one.applyConfiguration || trimmed(one.applyConfiguration->expression).empty()))
      errors.required(apply.child("expression"), "expression is not specified");
    if (one.patchType == "JSONPatch" && (!one.jsonPatch || trimmed(one.jsonPatch->expression).empty()))
      errors.required(patch.child("expression"), "expression is not specified");
  }
}

void check_param_ref(const api::ParamRef& ref, FieldErrors& errors) {
  const Path path = kSpec.child("paramRef");
  constexpr char kOne[] = "name and selector are mutually exclusive";
  if (!ref.name.empty()) add_problems(path.child("name"), ref.name, api::path_segment_problems(ref.name), errors);
  if (ref.selector) check_label_selector(*ref.selector, path.child("selector"), errors);
  if (!ref.name.empty() && ref.selector) {
    errors.forbidden(path.child("name"), kOne);
    errors.forbidden(path.child("selector"), kOne);
  }
  if (ref.name.empty() && !ref.selector) errors.required(path, "one of name or selector must be specified");
  require_one_of(ref.parameterNotFoundAction, path.child("parameterNotFoundAction"), {"Deny", "Allow"}, errors);
}

void check_actions(const std::vector<std::string>& actions, FieldErrors& errors) {
  const Path path = kSpec.child("validationActions");
  std::set<std::string_view> seen;
  for (size_t i = 0; i < actions.size(); ++i) {
    const Path at = kSpec.child("validationActions", i);
    check_one_of(actions[i], at, {"Audit", "Deny", "Warn"}, errors);
    if (!seen.insert(actions[i]).second) errors.duplicate(at, quote(actions[i]));
  }
  if (seen.contains("Deny") && seen.contains("Warn"))
    errors.invalid(path, json_of(actions),
                   "must not contain both Deny and Warn (repeating the same validation failure information in the API "
                   "response and headers serves no purpose)");
  if (seen.empty()) errors.required(path, "at least one validation action is required");
}

template <class Binding>
void validate_binding(const Binding& binding, const Binding*, FieldErrors& errors) {
  const auto& spec = binding.spec;
  const Path name = kSpec.child("policyName");
  if (require(spec.policyName, name, errors)) check_dns_subdomain(spec.policyName, name, errors);
  if (spec.paramRef) check_param_ref(*spec.paramRef, errors);
  if (spec.matchResources) check_match(*spec.matchResources, kSpec.child("matchResources"), errors);
  if constexpr (requires { spec.validationActions; }) check_actions(spec.validationActions, errors);
  if (errors.empty())
    errors.forbidden(name, "policies are CEL expressions, which this server does not evaluate: a binding would promise what "
                           "nobody enforces");
}

template <class Policy>
void warn_about_policy(const Policy& policy, const Policy*, std::vector<std::string>& warnings) {
  warnings.push_back(fmt::format("{} \"{}\" is kept but has no effect: this server does not evaluate CEL expressions",
                                 api::kind_of<Policy>().kind, policy.metadata.name));
}

}  // namespace

std::vector<Resource> admission_policies() {
  Rules<api::ValidatingAdmissionPolicy> validating;
  validating.validate = validate_validating;
  validating.warn = warn_about_policy<api::ValidatingAdmissionPolicy>;
  validating.counts_generation = true;
  Rules<api::ValidatingAdmissionPolicyBinding> validating_bindings;
  validating_bindings.validate = validate_binding<api::ValidatingAdmissionPolicyBinding>;
  validating_bindings.counts_generation = true;
  Rules<api::MutatingAdmissionPolicy> mutating;
  mutating.validate = validate_mutating;
  mutating.warn = warn_about_policy<api::MutatingAdmissionPolicy>;
  mutating.counts_generation = true;
  Rules<api::MutatingAdmissionPolicyBinding> mutating_bindings;
  mutating_bindings.validate = validate_binding<api::MutatingAdmissionPolicyBinding>;
  mutating_bindings.counts_generation = true;
  return {define(validating), define(validating_bindings), define(mutating), define(mutating_bindings)};
}

}  // namespace skiff::registry
