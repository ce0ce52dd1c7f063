// FlowSchemas and PriorityLevelConfigurations (pkg/apis/flowcontrol/validation).

#include <algorithm>
#include <cmath>
#include <set>

#include "api/gen/flowcontrol.hpp"
#include "registry/kinds/field_checks.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

using api::quote;
using Names = std::vector<std::string>;

const Path kSpec("spec");
constexpr std::int32_t kMaxPrecedence = 10000;
constexpr std::int32_t kMaxQueues = 10'000'000;
constexpr int kMaxHashBits = 60;
constexpr char kNonnegativeInteger[] = "must be a non-negative integer";

bool has_wildcard(const Names& names) { return std::find(names.begin(), names.end(), "*") != names.end(); }

// Required unless there is one; `*` stands alone.
void check_wildcard(const Names& names, const Path& path, const char* missing, const char* others, FieldErrors& errors) {
  if (names.empty()) errors.required(path, missing);
  else if (names.size() > 1 && has_wildcard(names))
    errors.invalid(path, json_of(names), fmt::format("if '*' is present, must not specify other {}", others));
}

void check_verbs(const Names& verbs, const Path& path, FieldErrors& errors) {
  static const Names kVerbs = {"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"};
  check_wildcard(verbs, path, "verbs must contain at least one value", "verbs", errors);
  if (has_wildcard(verbs)) return;
  auto known = [](const std::string& verb) { return std::find(kVerbs.begin(), kVerbs.end(), verb) != kVerbs.end(); };
  auto unknown = std::find_if_not(verbs.begin(), verbs.end(), known);
  if (unknown != verbs.end()) errors.not_supported(path, *unknown, kVerbs);
}

void check_resource_rule(const api::ResourcePolicyRule& rule, const Path& path, FieldErrors& errors) {
  check_verbs(rule.verbs, path.child("verbs"), errors);
  check_wildcard(rule.apiGroups, path.child("apiGroups"), "resource rules must supply at least one api group",
                 "api groups", errors);
  check_wildcard(rule.resources, path.child("resources"), "resource rules must supply at least one resource", "resources",
                 errors);
  const Path namespaces = path.child("namespaces");
  if (rule.namespaces.empty() && rule.clusterScope.value_or(false)) return;
  check_wildcard(rule.namespaces, namespaces, "resource rules that are not cluster scoped must supply at least one namespace",
                 "namespaces", errors);
  if (has_wildcard(rule.namespaces)) return;
  for (size_t i = 0; i < rule.namespaces.size(); ++i)
    for (const std::string& problem : api::dns1123_label_problems(rule.namespaces[i]))
      errors.invalid(path.child("namespaces", i), quote(rule.namespaces[i]),
                     "each member of this list must be '*' or a DNS-1123 label; " + problem);
}

const char* url_problem(std::string_view url) {
  if (url.empty()) return "must not be empty";
  if (url == "/") return nullptr;
  if (url.front() != '/') return "must start with slash";
  if (url.find(' ') != url.npos) return "must not contain white-space";
  if (url.find("//") != url.npos) return "must not contain double slash";
  auto stars = std::count(url.begin(), url.end(), '*');
  if (stars > 1 || (stars == 1 && !url.ends_with("/*"))) return "wildcard can only do suffix matching";
  return nullptr;
}

void check_url_rule(const api::NonResourcePolicyRule& rule, const Path& path, FieldErrors& errors) {
  check_verbs(rule.verbs, path.child("verbs"), errors);
  check_wildcard(rule.nonResourceURLs, path.child("nonResourceURLs"), "nonResourceURLs must contain at least one value",
                 "non-resource URLs", errors);
  if (has_wildcard(rule.nonResourceURLs)) return;
  for (size_t i = 0; i < rule.nonResourceURLs.size(); ++i)
    if (const char* problem = url_problem(rule.nonResourceURLs[i]))
      errors.invalid(path.child("nonResourceURLs", i), quote(rule.nonResourceURLs[i]), problem);
}

void check_account(const api::ServiceAccountSubject& account, const Path& path, FieldErrors& errors) {
  if (account.name.empty()) errors.required(path.child("name"));
  else if (account.name != "*") check_dns_subdomain(account.name, path.child("name"), errors);
  if (account.namespace_.empty()) errors.required(path.child("namespace"), "must specify namespace for service account");
  else check_dns_label(account.namespace_, path.child("namespace"), errors);
}

void check_subject(const api::FlowControlSubject& subject, const Path& path, FieldErrors& errors) {
  struct Member {
    const char* kind;
    const char* field;
    bool set;
    const std::string* name;
  };
  const Member members[] = {
      {"ServiceAccount", "serviceAccount", subject.serviceAccount.has_value(), nullptr},
      {"User", "user", subject.user.has_value(), subject.user ? &subject.user->name : nullptr},
      {"Group", "group", subject.group.has_value(), subject.group ? &subject.group->name : nullptr}};
  if (!is_one_of(subject.kind, {"Group", "ServiceAccount", "User"}))
    return check_one_of(subject.kind, path.child("kind"), {"Group", "ServiceAccount", "User"}, errors);
  for (const Member& member : members) {
    const Path at = path.child(member.field);
    bool wanted = subject.kind == member.kind;
    if (wanted && !member.set)
      errors.required(at, fmt::format("{} is required when subject kind is '{}'", member.field, member.kind));
    if (!wanted && member.set)
      errors.forbidden(at, fmt::format("{} is forbidden when subject kind is not '{}'", member.field, member.kind));
    if (wanted && member.name && member.name->empty()) errors.required(at.child("name"));
  }
  if (subject.kind == "ServiceAccount" && subject.serviceAccount)
    check_account(*subject.serviceAccount, path.child("serviceAccount"), errors);
}

void check_policy_rule(const api::PolicyRulesWithSubjects& rule, const Path& path, FieldErrors& errors) {
  if (rule.subjects.empty()) errors.required(path.child("subjects"), "subjects must contain at least one value");
  for (size_t i = 0; i < rule.subjects.size(); ++i) check_subject(rule.subjects[i], path.child("subjects", i), errors);
  if (rule.resourceRules.empty() && rule.nonResourceRules.empty())
    errors.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty");
  for (size_t i = 0; i < rule.resourceRules.size(); ++i)
    check_resource_rule(rule.resourceRules[i], path.child("resourceRules", i), errors);
  for (size_t i = 0; i < rule.nonResourceRules.size(); ++i)
    check_url_rule(rule.nonResourceRules[i], path.child("nonResourceRules", i), errors);
}

template <class Condition>
void check_conditions(const std::vector<Condition>& conditions, FieldErrors& errors) {
  const Path status("status");
  std::set<std::string> seen;
  for (size_t i = 0; i < conditions.size(); ++i) {
    const Path at = status.child("conditions", i);
    if (!seen.insert(conditions[i].type).second) errors.duplicate(at.child("type"), quote(conditions[i].type));
    if (conditions[i].type.empty()) errors.required(at.child("type"), "must not be empty");
  }
}

// ---- FlowSchemas

void validate_schema(const api::FlowSchema& schema, const api::FlowSchema*, FieldErrors& errors) {
  const api::FlowSchemaSpec& spec = schema.spec;
  const Path precedence = kSpec.child("matchingPrecedence");
  auto wrong = [&](std::string_view why) { errors.invalid(precedence, std::to_string(spec.matchingPrecedence), why); };
  if (spec.matchingPrecedence <= 0) wrong("must be a positive value");
  if (spec.matchingPrecedence > kMaxPrecedence) wrong(fmt::format("must not be greater than {}", kMaxPrecedence));
  if (spec.matchingPrecedence == 1 && schema.metadata.name != "exempt")
    wrong("only the schema named 'exempt' may have matchingPrecedence 1");
  const Path method = kSpec.child("distinguisherMethod");
  if (spec.distinguisherMethod)
    check_one_of(spec.distinguisherMethod->type, method.child("type"), {"ByNamespace", "ByUser"}, errors);
  const Path level = kSpec.child("priorityLevelConfiguration");
  if (spec.priorityLevelConfiguration.name.empty())
    errors.required(level.child("name"), "must reference a priority level");
  else check_dns_subdomain(spec.priorityLevelConfiguration.name, level.child("name"), errors);
  for (size_t i = 0; i < spec.rules.size(); ++i) check_policy_rule(spec.rules[i], kSpec.child("rules", i), errors);
  check_conditions(schema.status.conditions, errors);
}

void validate_schema_status(const api::FlowSchema& next, const api::FlowSchema&, FieldErrors& errors) {
  check_conditions(next.status.conditions, errors);
}

// ---- PriorityLevelConfigurations

// Bits of a hash that dealing `hand` of `deck` cards takes (shufflesharding.RequiredEntropyBits), counted no further than
// is too many: both numbers are the client's.
int entropy_bits(int deck, int hand) {
  double bits = 0;
  for (int i = 0; i < hand && bits <= kMaxHashBits; ++i) bits += std::log2(static_cast<double>(deck - i));
  return static_cast<int>(std::ceil(bits));
}

void check_queuing(const api::QueuingConfiguration& queuing, const Path& path, FieldErrors& errors) {
  auto wrong = [&](const char* field, int value, std::string_view why) {
    errors.invalid(path.child(field), std::to_string(value), why);
  };
  if (queuing.queueLengthLimit <= 0) wrong("queueLengthLimit", queuing.queueLengthLimit, "must be positive");
  if (queuing.queues <= 0) wrong("queues", queuing.queues, "must be positive");
  else if (queuing.queues > kMaxQueues)
    wrong("queues", queuing.queues, fmt::format("must not be greater than {}", kMaxQueues));
  if (queuing.handSize <= 0) wrong("handSize", queuing.handSize, "must be positive");
  else if (queuing.handSize > queuing.queues)
    wrong("handSize", queuing.handSize, fmt::format("should not be greater than queues ({})", queuing.queues));
  else if (int bits = entropy_bits(queuing.queues, queuing.handSize); bits > kMaxHashBits)
    wrong("handSize", queuing.handSize,
          fmt::format("required entropy bits of deckSize {} and handSize {} should not be greater than {}", queuing.queues,
                      queuing.handSize, kMaxHashBits));
}

void check_lendable(const std::optional<std::int32_t>& percent, const Path& path, FieldErrors& errors) {
  if (percent && (*percent < 0 || *percent > 100))
    errors.invalid(path, std::to_string(*percent), "must be between 0 and 100, inclusive");
}
void check_shares(const std::optional<std::int32_t>& shares, const Path& path, FieldErrors& errors) {
  if (shares && *shares < 0) errors.invalid(path, std::to_string(*shares), kNonnegativeInteger);
}

void check_limited(const api::LimitedPriorityLevelConfiguration& limited, const Path& path, FieldErrors& errors) {
  check_shares(limited.nominalConcurrencyShares, path.child("nominalConcurrencyShares"), errors);
  const Path response = path.child("limitResponse");
  const Path queuing = response.child("queuing");
  const api::LimitResponse& answer = limited.limitResponse;
  check_one_of(answer.type, response.child("type"), {"Queue", "Reject"}, errors);
  if (answer.type == "Reject" && answer.queuing)
    errors.forbidden(queuing, "must be nil if limited.limitResponse.type is not Limited");
  if (answer.type == "Queue" && !answer.queuing)
    errors.required(queuing, "must not be empty if limited.limitResponse.type is Limited");
  if (answer.type == "Queue" && answer.queuing) check_queuing(*answer.queuing, queuing, errors);
  check_lendable(limited.lendablePercent, path.child("lendablePercent"), errors);
  if (limited.borrowingLimitPercent && *limited.borrowingLimitPercent < 0)
    errors.invalid(path.child("borrowingLimitPercent"), std::to_string(*limited.borrowingLimitPercent),
                   "if specified, must be a non-negative integer");
}

void validate_level(const api::PriorityLevelConfiguration& level, const api::PriorityLevelConfiguration*,
                    FieldErrors& errors) {
  const api::PriorityLevelConfigurationSpec& spec = level.spec;
  if ((level.metadata.name == "exempt") != (spec.type == "Exempt"))
    errors.invalid(kSpec.child("type"), quote(spec.type), "type must be 'Exempt' if and only if name is 'exempt'");
  const Path limited = kSpec.child("limited");
  const Path exempt = kSpec.child("exempt");
  check_one_of(spec.type, kSpec.child("type"), {"Exempt", "Limited"}, errors);
  if (spec.type == "Exempt") {
    if (spec.limited) errors.forbidden(limited, "must be nil if the type is not Limited");
    if (spec.exempt) {
      check_shares(spec.exempt->nominalConcurrencyShares, exempt.child("nominalConcurrencyShares"), errors);
      check_lendable(spec.exempt->lendablePercent, exempt.child("lendablePercent"), errors);
    }
  }
  if (spec.type == "Limited") {
    if (spec.exempt) errors.forbidden(exempt, "must be nil if the type is Limited");
    if (!spec.limited) errors.required(limited, "must not be empty when type is Limited");
    else check_limited(*spec.limited, limited, errors);
  }
  check_conditions(level.status.conditions, errors);
}

void validate_level_status(const api::PriorityLevelConfiguration& next, const api::PriorityLevelConfiguration&,
                           FieldErrors& errors) {
  check_conditions(next.status.conditions, errors);
}

}  // namespace

std::vector<Resource> flow_control() {
  Rules<api::FlowSchema> schemas;
  schemas.validate = validate_schema;
  schemas.validate_status = validate_schema_status;
  schemas.counts_generation = true;
  Rules<api::PriorityLevelConfiguration> levels;
  levels.validate = validate_level;
  levels.validate_status = validate_level_status;
  levels.counts_generation = true;
  return {define(schemas), define(levels)};
}

}  // namespace skiff::registry
