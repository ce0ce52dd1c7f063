#include "registry/kinds/placement.hpp"

#include <algorithm>

namespace skiff::registry {
namespace {

using api::quote;

constexpr char kNoOperator[] = "not a valid selector operator";

void check_requirement(const api::NodeSelectorRequirement& requirement, bool values_too, const Path& path,
                       FieldErrors& errors) {
  const std::string& op = requirement.operator_;
  const Path values = path.child("values");
  if (is_one_of(op, {"In", "NotIn"})) {
    if (requirement.values.empty()) errors.required(values, "must be specified when `operator` is 'In' or 'NotIn'");
  } else if (is_one_of(op, {"Exists", "DoesNotExist"})) {
    if (!requirement.values.empty())
      errors.forbidden(values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
  } else if (is_one_of(op, {"Gt", "Lt"})) {
    if (requirement.values.size() != 1)
      errors.required(values, "must be specified single value when `operator` is 'Lt' or 'Gt'");
  } else {
    errors.invalid(path.child("operator"), quote(op), kNoOperator);
  }
  check_qualified_name(requirement.key, path.child("key"), errors);
  if (!values_too) return;
  for (size_t i = 0; i < requirement.values.size(); ++i)
    add_problems(path.child("values", i), requirement.values[i], api::label_value_problems(requirement.values[i]),
                 errors);
}

void check_field_requirement(const api::NodeSelectorRequirement& requirement, const Path& path, FieldErrors& errors) {
  if (!is_one_of(requirement.operator_, {"In", "NotIn"}))
    errors.invalid(path.child("operator"), quote(requirement.operator_), kNoOperator);
  else if (requirement.values.size() != 1)
    errors.required(path.child("values"),
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
  if (requirement.key != "metadata.name")
    return errors.invalid(path.child("key"), quote(requirement.key), "not a valid field selector key");
  for (size_t i = 0; i < requirement.values.size(); ++i)
    check_dns_subdomain(requirement.values[i], path.child("values", i), errors);
}

void check_term(const api::NodeSelectorTerm& term, bool values_too, const Path& path, FieldErrors& errors) {
  for (size_t i = 0; i < term.matchExpressions.size(); ++i)
    check_requirement(term.matchExpressions[i], values_too, path.child("matchExpressions", i), errors);
  for (size_t i = 0; i < term.matchFields.size(); ++i)
    check_field_requirement(term.matchFields[i], path.child("matchFields", i), errors);
}

void check_weight(int weight, const Path& path, FieldErrors& errors) {
  if (weight <= 0 || weight > 100)
    errors.invalid(path.child("weight"), std::to_string(weight), "must be in the range 1-100");
}

// Keys whose values the server copies from the pod into the selector.
void check_copied_keys(const std::vector<std::string>& keys, const char* list, const api::LabelSelector* selector,
                       const Path& path, FieldErrors& errors) {
  if (!keys.empty() && !selector)
    errors.forbidden(path.child(list), "must not be specified when labelSelector is not set");
  for (size_t i = 0; i < keys.size(); ++i) check_qualified_name(keys[i], path.child(list, i), errors);
}

void check_pod_term(const api::PodAffinityTerm& term, const Path& path, FieldErrors& errors) {
  if (term.labelSelector) check_label_selector(*term.labelSelector, path.child("labelSelector"), errors);
  if (term.namespaceSelector) check_label_selector(*term.namespaceSelector, path.child("namespaceSelector"), errors);
  for (const std::string& name : term.namespaces) check_dns_label(name, path.child("namespace"), errors);
  check_copied_keys(term.matchLabelKeys, "matchLabelKeys", term.labelSelector.get(), path, errors);
  check_copied_keys(term.mismatchLabelKeys, "mismatchLabelKeys", term.labelSelector.get(), path, errors);
  for (size_t i = 0; i < term.matchLabelKeys.size(); ++i)
    if (std::find(term.mismatchLabelKeys.begin(), term.mismatchLabelKeys.end(), term.matchLabelKeys[i]) !=
        term.mismatchLabelKeys.end())
      errors.invalid(path.child("matchLabelKeys", i), quote(term.matchLabelKeys[i]),
                     "exists in both matchLabelKeys and mismatchLabelKeys");
  if (term.topologyKey.empty()) errors.required(path.child("topologyKey"), "can not be empty");
  check_qualified_name(term.topologyKey, path.child("topologyKey"), errors);
}

template <class PodTerms>
void check_pod_terms(const PodTerms& terms, const Path& path, FieldErrors& errors) {
  for (size_t i = 0; i < terms.requiredDuringSchedulingIgnoredDuringExecution.size(); ++i)
    check_pod_term(terms.requiredDuringSchedulingIgnoredDuringExecution[i],
                   path.child("requiredDuringSchedulingIgnoredDuringExecution", i), errors);
  for (size_t i = 0; i < terms.preferredDuringSchedulingIgnoredDuringExecution.size(); ++i) {
    const Path at = path.child("preferredDuringSchedulingIgnoredDuringExecution", i);
    check_weight(terms.preferredDuringSchedulingIgnoredDuringExecution[i].weight, at, errors);
    check_pod_term(terms.preferredDuringSchedulingIgnoredDuringExecution[i].podAffinityTerm,
                   at.child("podAffinityTerm"), errors);
  }
}

}  // namespace

void check_node_selector(const api::NodeSelector& selector, const Path& path, FieldErrors& errors) {
  if (selector.nodeSelectorTerms.empty())
    errors.required(path.child("nodeSelectorTerms"), "must have at least one node selector term");
  for (size_t i = 0; i < selector.nodeSelectorTerms.size(); ++i)
    check_term(selector.nodeSelectorTerms[i], true, path.child("nodeSelectorTerms", i), errors);
}

void check_affinity(const api::Affinity& affinity, const Path& path, FieldErrors& errors) {
  if (affinity.nodeAffinity) {
    const Path at = path.child("nodeAffinity");
    const api::NodeAffinity& nodes = *affinity.nodeAffinity;
    if (nodes.requiredDuringSchedulingIgnoredDuringExecution)
      check_node_selector(*nodes.requiredDuringSchedulingIgnoredDuringExecution,
                          at.child("requiredDuringSchedulingIgnoredDuringExecution"), errors);
    for (size_t i = 0; i < nodes.preferredDuringSchedulingIgnoredDuringExecution.size(); ++i) {
      const Path term = at.child("preferredDuringSchedulingIgnoredDuringExecution", i);
      check_weight(nodes.preferredDuringSchedulingIgnoredDuringExecution[i].weight, term, errors);
      check_term(nodes.preferredDuringSchedulingIgnoredDuringExecution[i].preference, false, term.child("preference"),
                 errors);
    }
  }
  if (affinity.podAffinity) check_pod_terms(*affinity.podAffinity, path.child("podAffinity"), errors);
  if (affinity.podAntiAffinity) check_pod_terms(*affinity.podAntiAffinity, path.child("podAntiAffinity"), errors);
}

void check_spreading(const std::vector<api::TopologySpreadConstraint>& constraints, const Path& spec,
                     FieldErrors& errors) {
  for (size_t i = 0; i < constraints.size(); ++i) {
    const api::TopologySpreadConstraint& one = constraints[i];
    const Path at = spec.child("topologySpreadConstraints", i);
    require_positive(one.maxSkew, at.child("maxSkew"), errors);
    if (one.topologyKey.empty()) errors.required(at.child("topologyKey"), "can not be empty");
    else check_qualified_name(one.topologyKey, at.child("topologyKey"), errors);
    check_one_of(one.whenUnsatisfiable, at.child("whenUnsatisfiable"), {"DoNotSchedule", "ScheduleAnyway"}, errors);
    for (size_t j = i + 1; j < constraints.size(); ++j)
      if (constraints[j].topologyKey == one.topologyKey && constraints[j].whenUnsatisfiable == one.whenUnsatisfiable) {
        errors.duplicate(at.child("{topologyKey, whenUnsatisfiable}"),
                         quote(fmt::format("{{{}, {}}}", one.topologyKey, one.whenUnsatisfiable)));
        break;
      }
    if (one.minDomains) {
      require_positive(*one.minDomains, at.child("minDomains"), errors);
      if (one.whenUnsatisfiable != "DoNotSchedule")
        errors.invalid(at.child("minDomains"), std::to_string(*one.minDomains),
                       fmt::format("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
                                   one.whenUnsatisfiable));
    }
    if (!one.nodeAffinityPolicy.empty())
      check_one_of(one.nodeAffinityPolicy, at.child("nodeAffinityPolicy"), {"Honor", "Ignore"}, errors);
    if (!one.nodeTaintsPolicy.empty())
      check_one_of(one.nodeTaintsPolicy, at.child("nodeTaintsPolicy"), {"Honor", "Ignore"}, errors);
    check_copied_keys(one.matchLabelKeys, "matchLabelKeys", one.labelSelector.get(), at, errors);
    if (one.labelSelector) check_label_selector(*one.labelSelector, at.child("labelSelector"), errors);
  }
}

void check_tolerations(const std::vector<api::Toleration>& tolerations, const Path& path, FieldErrors& errors) {
  for (size_t i = 0; i < tolerations.size(); ++i) {
    const api::Toleration& one = tolerations[i];
    const Path at = path.child("tolerations", i);
    if (!one.key.empty()) check_qualified_name(one.key, at.child("key"), errors);
    if (one.key.empty() && one.operator_ != "Exists")
      errors.invalid(at.child("operator"), quote(one.operator_),
                     "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
    if (one.tolerationSeconds && one.effect != "NoExecute")
      errors.invalid(at.child("effect"), quote(one.effect),
                     "effect must be 'NoExecute' when `tolerationSeconds` is set");
    if (one.operator_.empty() || one.operator_ == "Equal") {
      add_problems(at.child("operator"), one.value, api::label_value_problems(one.value), errors);
    } else if (one.operator_ == "Exists") {
      if (!one.value.empty())
        errors.invalid(at.child("operator"), quote(one.value), "value must be empty when `operator` is 'Exists'");
    } else if (!is_one_of(one.operator_, {"Gt", "Lt"})) {
      errors.not_supported(at.child("operator"), one.operator_, {"Equal", "Exists"});
    }
    if (!one.effect.empty())
      check_one_of(one.effect, at.child("effect"), {"NoSchedule", "PreferNoSchedule", "NoExecute"}, errors);
  }
}

}  // namespace skiff::registry
