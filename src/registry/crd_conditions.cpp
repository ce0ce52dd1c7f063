#include "registry/crd_conditions.hpp"

#include <algorithm>
#include <set>

#include "api/status.hpp"

namespace skiff::registry {

const CrdCondition* find_condition(const api::CustomResourceDefinition& crd, std::string_view type) {
  for (const CrdCondition& one : crd.status.conditions)
    if (one.type == type) return &one;
  return nullptr;
}

bool is_condition_true(const api::CustomResourceDefinition& crd, std::string_view type) {
  const CrdCondition* condition = find_condition(crd, type);
  return condition && condition->status == "True";
}

void set_condition(api::CustomResourceDefinition& crd, CrdCondition condition, api::Time now) {
  condition.lastTransitionTime = now;
  for (CrdCondition& one : crd.status.conditions) {
    if (one.type != condition.type) continue;
    if (one.status == condition.status) condition.lastTransitionTime = one.lastTransitionTime;
    one = std::move(condition);
    return;
  }
  crd.status.conditions.push_back(std::move(condition));
}

bool is_protected_group(std::string_view group) {
  return group == "k8s.io" || group.ends_with(".k8s.io") || group == "kubernetes.io" ||
         group.ends_with(".kubernetes.io");
}

Approval approval_of(const api::CustomResourceDefinition& crd) {
  static constexpr char kSee[] = "see https://github.com/kubernetes/enhancements/pull/1111";
  auto found = crd.metadata.annotations.find(kApprovalAnnotation);
  std::string text = found == crd.metadata.annotations.end() ? "" : found->second;
  size_t scheme = text.find("://");
  if (text.empty())
    return {Approval::State::Missing,
            fmt::format("protected groups must have approval annotation \"{}\", {}", kApprovalAnnotation, kSee)};
  if (text.starts_with("unapproved"))
    return {Approval::State::Bypassed, "not approved: " + api::quote(text)};
  if (scheme != std::string::npos && scheme > 0 && scheme + 3 < text.size() && text[scheme + 3] != '/')
    return {Approval::State::Approved, "approved in " + text};
  return {Approval::State::Invalid,
          fmt::format("protected groups must have approval annotation \"{}\" with either a URL or a reason starting "
                      "with \"unapproved\", {}",
                      kApprovalAnnotation, kSee)};
}

namespace {

struct TakenNames {
  std::set<std::string> resources, kinds;
};

// What the other CRDs of the group hold.
TakenNames taken_names(const api::CustomResourceDefinition& crd,
                       const std::vector<const api::CustomResourceDefinition*>& others) {
  TakenNames taken;
  for (const api::CustomResourceDefinition* other : others) {
    if (other->metadata.uid == crd.metadata.uid || other->spec.group != crd.spec.group) continue;
    const api::CustomResourceDefinitionNames& names = other->status.acceptedNames;
    for (const std::string* name : {&names.plural, &names.singular})
      if (!name->empty()) taken.resources.insert(*name);
    taken.resources.insert(names.shortNames.begin(), names.shortNames.end());
    for (const std::string* name : {&names.kind, &names.listKind})
      if (!name->empty()) taken.kinds.insert(*name);
  }
  return taken;
}

CrdCondition condition(const char* type, const char* status, const char* reason, std::string message) {
  CrdCondition made;
  made.type = type;
  made.status = status;
  made.reason = reason;
  made.message = std::move(message);
  return made;
}

// Moves names from the spec to the status unless another CRD has them; the last conflict is told.
CrdCondition accept_names(api::CustomResourceDefinition& crd, const TakenNames& taken) {
  const api::CustomResourceDefinitionNames& wanted = crd.spec.names;
  api::CustomResourceDefinitionNames& accepted = crd.status.acceptedNames;
  CrdCondition result = condition("NamesAccepted", "True", "NoConflicts", "no conflicts found");
  auto conflict = [&](const char* reason, const std::string& name) {
    result = condition("NamesAccepted", "False", reason, api::quote(name) + " is already in use");
  };
  auto accept = [&](const std::string& from, std::string& to, const std::set<std::string>& names, const char* reason) {
    if (from != to && names.contains(from)) conflict(reason, from);
    else to = from;
  };
  accept(wanted.plural, accepted.plural, taken.resources, "PluralConflict");
  accept(wanted.singular, accepted.singular, taken.resources, "SingularConflict");
  auto used = std::ranges::find_if(wanted.shortNames, [&](const std::string& name) {
    bool mine = std::ranges::find(accepted.shortNames, name) != accepted.shortNames.end();
    return !mine && taken.resources.contains(name);
  });
  if (used != wanted.shortNames.end()) conflict("ShortNamesConflict", *used);
  else accepted.shortNames = wanted.shortNames;
  accept(wanted.kind, accepted.kind, taken.kinds, "KindConflict");
  accept(wanted.listKind, accepted.listKind, taken.kinds, "ListKindConflict");
  accepted.categories = wanted.categories;
  return result;
}

void settle_approval(api::CustomResourceDefinition& crd, api::Time now) {
  static constexpr char kType[] = "KubernetesAPIApprovalPolicyConformant";
  if (!is_protected_group(crd.spec.group)) return;
  Approval approval = approval_of(crd);
  switch (approval.state) {
    case Approval::State::Missing:
      return set_condition(crd, condition(kType, "False", "MissingAnnotation", approval.reason), now);
    case Approval::State::Bypassed:
      return set_condition(crd, condition(kType, "False", "UnapprovedAnnotation", approval.reason), now);
    case Approval::State::Approved:
      return set_condition(crd, condition(kType, "True", "ApprovedAnnotation", approval.reason), now);
    case Approval::State::Invalid:
      return set_condition(crd, condition(kType, "False", "InvalidAnnotation", approval.reason), now);
  }
}

}  // namespace

void settle(api::CustomResourceDefinition& crd, const std::vector<const api::CustomResourceDefinition*>& others,
            api::Time now) {
  CrdCondition names = accept_names(crd, taken_names(crd, others));
  bool free = names.status == "True";
  set_condition(crd, std::move(names), now);
  if (!is_condition_true(crd, "Established"))
    set_condition(crd,
                  free ? condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted")
                       : condition("Established", "False", "NotAccepted", "not all names are accepted"),
                  now);
  settle_approval(crd, now);
}

}  // namespace skiff::registry
