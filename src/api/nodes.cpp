#include "api/nodes.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace skiff::api {
namespace {

std::optional<std::int64_t> integer(const std::string& text) {
  std::int64_t value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool matches_requirement(const NodeSelectorRequirement& requirement, const std::string* value) {
  auto listed = [&] {
    return std::find(requirement.values.begin(), requirement.values.end(), *value) !=
           requirement.values.end();
  };
  const std::string& op = requirement.operator_;
  if (op == "In") return value && listed();
  if (op == "NotIn") return !value || !listed();
  if (op == "Exists") return value != nullptr;
  if (op == "DoesNotExist") return value == nullptr;
  if (!value || requirement.values.size() != 1) return false;
  std::optional<std::int64_t> have = integer(*value), bound = integer(requirement.values.front());
  if (!have || !bound) return false;
  return op == "Gt" ? *have > *bound : op == "Lt" && *have < *bound;
}

}  // namespace

bool matches_term(const NodeSelectorTerm& term, const Node& node) {
  if (term.matchExpressions.empty() && term.matchFields.empty())
    return false;  // a term of nothing selects nothing
  for (const NodeSelectorRequirement& requirement : term.matchExpressions) {
    auto label = node.metadata.labels.find(requirement.key);
    if (!matches_requirement(requirement, label == node.metadata.labels.end() ? nullptr : &label->second))
      return false;
  }
  return std::all_of(term.matchFields.begin(), term.matchFields.end(), [&](const auto& requirement) {
    return requirement.key == "metadata.name" && matches_requirement(requirement, &node.metadata.name);
  });
}

bool matches_node_affinity(const PodSpec& spec, const Node& node) {
  for (const auto& [key, value] : spec.nodeSelector) {
    auto label = node.metadata.labels.find(key);
    if (label == node.metadata.labels.end() || label->second != value) return false;
  }
  if (!spec.affinity || !spec.affinity->nodeAffinity) return true;
  const auto& required = spec.affinity->nodeAffinity->requiredDuringSchedulingIgnoredDuringExecution;
  if (!required) return true;
  return std::any_of(required->nodeSelectorTerms.begin(), required->nodeSelectorTerms.end(),
                     [&](const NodeSelectorTerm& term) { return matches_term(term, node); });
}

bool tolerates(const std::vector<Toleration>& tolerations, const Taint& taint) {
  return std::any_of(tolerations.begin(), tolerations.end(), [&](const Toleration& one) {
    if (!one.effect.empty() && one.effect != taint.effect) return false;
    if (!one.key.empty() && one.key != taint.key) return false;
    if (one.operator_ == "Exists") return true;
    if (one.operator_.empty() || one.operator_ == "Equal")
      return !one.key.empty() && one.value == taint.value;
    std::optional<std::int64_t> have = integer(taint.value), bound = integer(one.value);
    if (!have || !bound) return false;
    return one.operator_ == "Gt" ? *have > *bound : one.operator_ == "Lt" && *have < *bound;
  });
}

bool tolerates_taints(const PodSpec& spec, const Node& node) {
  return std::all_of(node.spec.taints.begin(), node.spec.taints.end(), [&](const Taint& taint) {
    return taint.effect == "PreferNoSchedule" || tolerates(spec.tolerations, taint);
  });
}

}  // namespace skiff::api
