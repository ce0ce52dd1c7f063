#pragma once
// The conditions of a CustomResourceDefinition: whether its names are free, whether it is served, whether its group
// was approved (apiextensions-apiserver/pkg/controller/{status,establish,apiapproval}).

#include <string>
#include <vector>

#include "api/gen/apiextensions.hpp"

namespace skiff::registry {

inline constexpr char kCleanupFinalizer[] = "customresourcecleanup.apiextensions.k8s.io";
inline constexpr char kApprovalAnnotation[] = "api-approved.kubernetes.io";

using CrdCondition = api::CustomResourceDefinitionCondition;

const CrdCondition* find_condition(const api::CustomResourceDefinition& crd, std::string_view type);
bool is_condition_true(const api::CustomResourceDefinition& crd, std::string_view type);
/// The transition time moves only when the status does.
void set_condition(api::CustomResourceDefinition& crd, CrdCondition condition, api::Time now);

/// What the annotation of a CRD in a protected group (*.k8s.io) says.
struct Approval {
  enum class State { Missing, Bypassed, Approved, Invalid } state;
  std::string reason;
};
bool is_protected_group(std::string_view group);
Approval approval_of(const api::CustomResourceDefinition& crd);

/// Sets the accepted names and all conditions but Terminating, given the other CRDs. Established follows at once when
/// the names are free: the caller serves the resource before it writes the status.
void settle(api::CustomResourceDefinition& crd, const std::vector<const api::CustomResourceDefinition*>& others,
            api::Time now);

}  // namespace skiff::registry
