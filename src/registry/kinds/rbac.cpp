// Roles and bindings: their validation, and the checks that nobody grants what they do not hold.

#include <algorithm>

#include "api/gen/rbac.hpp"
#include "api/json.hpp"
#include "api/names.hpp"
#include "api/selector.hpp"
#include "base/encoding.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/rbac_rules.hpp"

namespace skiff::registry {
namespace {

constexpr char kGroup[] = "rbac.authorization.k8s.io";

// ---- Escalation and bind checks

Status confirm_no_escalation(const std::vector<api::PolicyRule>& wanted, const std::string& namespace_,
                             const StrategyContext& context) {
  const User& user = context.request.user;
  SubjectRules held = context.authorizer.rules_for(user, namespace_);
  std::vector<api::PolicyRule> missing = uncovered(held.rules, wanted);
  if (missing.empty()) return ok();
  std::vector<std::string> lines;
  for (const api::PolicyRule& rule : compact(missing)) lines.push_back(describe(rule));
  std::ranges::sort(lines);
  lines.erase(std::ranges::unique(lines).begin(), lines.end());
  std::string why = fmt::format("user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
                                api::quote(user.name), quoted_list(user.groups), join(lines, "\n"));
  if (!held.evaluation_error.empty()) why += "; resolution errors: [" + held.evaluation_error + "]";
  return Error(Code::Forbidden, std::move(why));
}

template <class T>
Status as_forbidden(Status status, const T& object) {
  if (status.ok() || status.error().code() != Code::Forbidden) return status;
  return api::forbidden(api::kind_of<T>(), object.metadata.name, status.error().message());
}

template <class T>
bool may(const char* verb, const StrategyContext& context, const std::string& name, const std::string& namespace_) {
  return context.authorizer
      .authorize({.user = context.request.user,
                  .verb = verb,
                  .group = kGroup,
                  .version = "*",
                  .resource = api::kind_of<T>().plural,
                  .name = name,
                  .namespace_ = namespace_})
      .allowed();
}

// The garbage collector may end an object whatever it grants.
template <class T>
bool only_collected(const T& next, const T& old) {
  T alike = next;
  alike.metadata.ownerReferences = old.metadata.ownerReferences;
  alike.metadata.finalizers = old.metadata.finalizers;
  alike.metadata.managedFields = old.metadata.managedFields;
  alike.metadata.resourceVersion = old.metadata.resourceVersion;
  return alike == old;
}

Status confirm_aggregation(const api::ClusterRole& role, const StrategyContext& context) {
  std::vector<api::PolicyRule> everything(2);
  everything[0].verbs = everything[0].apiGroups = everything[0].resources = {"*"};
  everything[1].verbs = everything[1].nonResourceURLs = {"*"};
  if (uncovered(context.authorizer.rules_for(context.request.user, "").rules, everything).empty()) return ok();
  return api::forbidden(api::kind_of<api::ClusterRole>(), role.metadata.name,
                        "must have cluster-admin privileges to use the aggregationRule");
}

template <class T>
Status check_role(const T& role, const T* old, const StrategyContext& context) {
  if (context.request.user.is_master()) return ok();
  if (may<T>("escalate", context, old ? role.metadata.name : "", role.metadata.namespace_)) return ok();
  if (old && only_collected(role, *old)) return ok();
  TRY(as_forbidden(confirm_no_escalation(role.rules, role.metadata.namespace_, context), role));
  if constexpr (std::is_same_v<T, api::ClusterRole>)
    if (role.aggregationRule || (old && old->aggregationRule)) return confirm_aggregation(role, context);
  return ok();
}

Result<std::vector<api::PolicyRule>> rules_of(const api::RoleRef& ref, const std::string& namespace_,
                                              const StrategyContext& context) {
  if (ref.kind == "Role") {
    TRY_ASSIGN(client::Ref<api::Role> role, context.cluster.get<api::Role>({namespace_, ref.name}));
    return role->rules;
  }
  if (ref.kind == "ClusterRole") {
    TRY_ASSIGN(client::Ref<api::ClusterRole> role, context.cluster.get<api::ClusterRole>({"", ref.name}));
    return role->rules;
  }
  return error(Code::Internal, "unsupported role reference kind: {}", api::quote(ref.kind));
}

template <class T>
Status check_binding(const T& binding, const T* old, const StrategyContext& context) {
  if (context.request.user.is_master()) return ok();
  if (old && only_collected(binding, *old)) return ok();
  const std::string& namespace_ = binding.metadata.namespace_;
  const api::RoleRef& ref = binding.roleRef;
  bool bound = ref.kind == "Role" ? may<api::Role>("bind", context, ref.name, namespace_)
                                  : may<api::ClusterRole>("bind", context, ref.name, namespace_);
  if (bound) return ok();
  TRY_ASSIGN(std::vector<api::PolicyRule> rules, rules_of(ref, namespace_, context));
  return as_forbidden(confirm_no_escalation(rules, namespace_, context), binding);
}

// ---- Validation

std::string as_json(const std::vector<std::string>& items) {
  std::vector<std::string> quoted;
  for (const std::string& item : items) quoted.push_back(api::quote(item));
  return "[" + join(quoted, ",") + "]";
}

void validate_rule(const api::PolicyRule& rule, bool namespaced, const std::string& path, api::FieldErrors& errors) {
  if (rule.verbs.empty()) errors.required(path + ".verbs", "verbs must contain at least one value");
  if (!rule.nonResourceURLs.empty()) {
    std::string urls = as_json(rule.nonResourceURLs);
    if (namespaced)
      errors.invalid(path + ".nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs");
    if (!rule.apiGroups.empty() || !rule.resources.empty() || !rule.resourceNames.empty())
      errors.invalid(path + ".nonResourceURLs", urls,
                     "rules cannot apply to both regular resources and non-resource URLs");
    return;
  }
  if (rule.apiGroups.empty())
    errors.required(path + ".apiGroups", "resource rules must supply at least one api group");
  if (rule.resources.empty())
    errors.required(path + ".resources", "resource rules must supply at least one resource");
}

void validate_aggregation(const api::ClusterRole& role, api::FieldErrors& errors) {
  if (!role.aggregationRule) return;
  const std::string path = "aggregationRule.clusterRoleSelectors";
  const auto& selectors = role.aggregationRule->clusterRoleSelectors;
  if (selectors.empty())
    errors.required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil");
  for (size_t i = 0; i < selectors.size(); ++i)
    if (Result<api::Selector> selector = api::Selector::from(selectors[i]); !selector.ok())
      errors.invalid(fmt::format("{}[{}]", path, i), api::to_json(selectors[i]), selector.error().message());
}

template <class T>
void validate_role(const T& role, const T*, api::FieldErrors& errors) {
  for (size_t i = 0; i < role.rules.size(); ++i)
    validate_rule(role.rules[i], api::kind_of<T>().namespaced, fmt::format("rules[{}]", i), errors);
  if constexpr (std::is_same_v<T, api::ClusterRole>) validate_aggregation(role, errors);
}

void validate_subject(const api::Subject& subject, bool namespaced, const std::string& path,
                      api::FieldErrors& errors) {
  if (subject.name.empty()) errors.required(path + ".name");
  if (subject.kind == "ServiceAccount") {
    if (!subject.name.empty())
      for (const std::string& problem : api::dns1123_subdomain_problems(subject.name))
        errors.invalid(path + ".name", api::quote(subject.name), problem);
    if (!subject.apiGroup.empty()) errors.not_supported(path + ".apiGroup", subject.apiGroup, {""});
    if (!namespaced && subject.namespace_.empty()) errors.required(path + ".namespace");
  } else if (subject.kind == "User" || subject.kind == "Group") {
    if (subject.apiGroup != kGroup) errors.not_supported(path + ".apiGroup", subject.apiGroup, {kGroup});
  } else {
    errors.not_supported(path + ".kind", subject.kind, {"Group", "ServiceAccount", "User"});
  }
}

template <class T>
void validate_binding(const T& binding, const T* old, api::FieldErrors& errors) {
  constexpr bool kNamespaced = std::is_same_v<T, api::RoleBinding>;
  const api::RoleRef& ref = binding.roleRef;
  if (old && ref != old->roleRef)
    errors.invalid("roleRef",
                   fmt::format(R"({{"APIGroup":{},"Kind":{},"Name":{}}})", api::quote(ref.apiGroup),
                               api::quote(ref.kind), api::quote(ref.name)),
                   "cannot change roleRef");
  if (ref.apiGroup != kGroup) errors.not_supported("roleRef.apiGroup", ref.apiGroup, {kGroup});
  bool known = ref.kind == "ClusterRole" || (kNamespaced && ref.kind == "Role");
  if (!known) {
    std::vector<std::string> kinds{"ClusterRole"};
    if (kNamespaced) kinds.emplace_back("Role");
    errors.not_supported("roleRef.kind", ref.kind, kinds);
  }
  if (ref.name.empty()) errors.required("roleRef.name");
  for (const std::string& problem : api::path_segment_problems(ref.name))
    errors.invalid("roleRef.name", api::quote(ref.name), problem);
  for (size_t i = 0; i < binding.subjects.size(); ++i)
    validate_subject(binding.subjects[i], kNamespaced, fmt::format("subjects[{}]", i), errors);
}

template <class T>
Resource role_kind() {
  Rules<T> rules;
  rules.prepare_create = [](T& role, StrategyContext& context) { return check_role<T>(role, nullptr, context); };
  rules.prepare_update = [](T& next, const T& old, StrategyContext& context) {
    return check_role<T>(next, &old, context);
  };
  rules.validate = validate_role<T>;
  rules.name_problems = api::path_segment_problems;
  rules.create_on_update = true;
  return define(rules);
}

template <class T>
Resource binding_kind() {
  Rules<T> rules;
  rules.prepare_create = [](T& binding, StrategyContext& context) {
    return check_binding<T>(binding, nullptr, context);
  };
  rules.prepare_update = [](T& next, const T& old, StrategyContext& context) {
    return check_binding<T>(next, &old, context);
  };
  rules.validate = validate_binding<T>;
  rules.name_problems = api::path_segment_problems;
  rules.create_on_update = true;
  return define(rules);
}

}  // namespace

std::vector<Resource> rbac() {
  return {role_kind<api::ClusterRole>(), role_kind<api::Role>(), binding_kind<api::ClusterRoleBinding>(),
          binding_kind<api::RoleBinding>()};
}

}  // namespace skiff::registry
