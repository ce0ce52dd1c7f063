#include "registry/kinds/admission_rules.hpp"

#include <algorithm>
#include <set>

namespace skiff::registry {
namespace {

using api::quote;
using Names = std::vector<std::string>;

bool has(const Names& names, std::string_view wanted) { return std::ranges::find(names, wanted) != names.end(); }

// A list in which `*` stands alone.
void validate_wildcard(const Names& list, const std::string& at, const char* others, FieldErrors& errors) {
  if (list.empty()) errors.required(at);
  else if (list.size() > 1 && has(list, "*"))
    errors.invalid(at, json_of(list), fmt::format("if '*' is present, must not specify other {}", others));
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
    errors.invalid(at, json_of(resources), "if '*/*' is present, must not specify other resources");
  bool plain = std::ranges::any_of(resources, [](const std::string& one) { return one != "*" && one.find('/') == std::string::npos; });
  if (has(resources, "*") && plain)
    errors.invalid(at, json_of(resources), "if '*' is present, must not specify other resources without subresources");
}

}  // namespace

void check_known(const std::string& value, const Names& known, const std::string& at, FieldErrors& errors) {
  if (!value.empty() && !has(known, value)) errors.not_supported(at, value, known);
}

template <class Rule>
void check_admission_rule(const Rule& rule, const std::string& at, FieldErrors& errors) {
  validate_wildcard(rule.operations, at + ".operations", "operations", errors);
  for (size_t i = 0; i < rule.operations.size(); ++i)
    check_known(rule.operations[i], {"*", "CONNECT", "CREATE", "DELETE", "UPDATE"}, fmt::format("{}.operations[{}]", at, i),
                errors);
  validate_wildcard(rule.apiGroups, at + ".apiGroups", "API groups", errors);
  validate_wildcard(rule.apiVersions, at + ".apiVersions", "API versions", errors);
  for (size_t i = 0; i < rule.apiVersions.size(); ++i)
    if (rule.apiVersions[i].empty()) errors.required(fmt::format("{}.apiVersions[{}]", at, i));
  validate_resources(rule.resources, at + ".resources", errors);
  check_known(rule.scope, {"*", "Cluster", "Namespaced"}, at + ".scope", errors);
}

template void check_admission_rule(const api::RuleWithOperations&, const std::string&, FieldErrors&);
template void check_admission_rule(const api::NamedRuleWithOperations&, const std::string&, FieldErrors&);

}  // namespace skiff::registry
