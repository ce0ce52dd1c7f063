#pragma once
// What webhooks and admission policies share: the requests a rule means.

#include "api/gen/admissionregistration.hpp"
#include "registry/kinds/field_checks.hpp"

namespace skiff::registry {

/// NotSupported unless empty or among `known`.
void check_known(const std::string& value, const std::vector<std::string>& known, const std::string& at,
                 FieldErrors& errors);

/// validateRuleWithOperations; `Rule` is RuleWithOperations or NamedRuleWithOperations.
template <class Rule>
void check_admission_rule(const Rule& rule, const std::string& at, FieldErrors& errors);

extern template void check_admission_rule(const api::RuleWithOperations&, const std::string&, FieldErrors&);
extern template void check_admission_rule(const api::NamedRuleWithOperations&, const std::string&, FieldErrors&);

}  // namespace skiff::registry
