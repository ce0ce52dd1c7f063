#pragma once
// What RBAC rules allow, and which of them cover which (k8s.io/component-helpers/auth/rbac/validation). Pure.

#include <string>
#include <vector>

#include "api/gen/rbac.hpp"
#include "registry/authorizer.hpp"

namespace skiff::registry {

bool allows(const api::PolicyRule& rule, const AccessRequest& request);

/// What of `wanted` no single rule of `held` covers, as rules of one group, resource and verb each.
std::vector<api::PolicyRule> uncovered(const std::vector<api::PolicyRule>& held,
                                       const std::vector<api::PolicyRule>& wanted);

/// Rules that differ only in their verbs, put together.
std::vector<api::PolicyRule> compact(const std::vector<api::PolicyRule>& rules);

/// `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`
std::string describe(const api::PolicyRule& rule);

/// `["a" "b"]`, as Go's %q prints strings.
std::string quoted_list(const std::vector<std::string>& items);

}  // namespace skiff::registry
