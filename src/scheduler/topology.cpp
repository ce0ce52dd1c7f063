#include "scheduler/topology.hpp"

#include <algorithm>
#include <limits>

#include "api/nodes.hpp"

namespace skiff::scheduler {

const std::string* label_of(const api::Node& node, const std::string& key) {
  auto label = node.metadata.labels.find(key);
  return label == node.metadata.labels.end() ? nullptr : &label->second;
}

// ---- DomainCounts

void DomainCounts::add(const api::Node& node, const std::string& key, std::int64_t by) {
  const std::string* value = label_of(node, key);
  if (!value) return;
  auto found = std::find_if(by_key_.begin(), by_key_.end(), [&](const auto& one) { return *one.first == key; });
  if (found == by_key_.end()) found = by_key_.insert(by_key_.end(), {&key, {}});
  found->second[*value] += by;
}

std::int64_t DomainCounts::at(const api::Node& node, const std::string& key) const {
  for (const auto& [known, counts] : by_key_) {
    if (*known != key) continue;
    const std::string* value = label_of(node, key);
    if (!value) return 0;
    auto found = counts.find(*value);
    return found == counts.end() ? 0 : found->second;
  }
  return 0;
}

std::int64_t DomainCounts::sum(const api::Node& node) const {
  std::int64_t sum = 0;
  for (const auto& [key, counts] : by_key_)
    if (const std::string* value = label_of(node, *key))
      if (auto found = counts.find(*value); found != counts.end()) sum += found->second;
  return sum;
}

// ---- Topology

Topology::Topology(const PodInfo& pod, const ClusterState& cluster)
    : pod_(pod), cluster_(cluster), anti_affinity_(pod.anti_affinity.size()) {
  for (const auto& group : cluster.groups()) count_group(*group);
  for (const SpreadConstraint& constraint : pod.hard_spread) hard_.push_back(count_spread(constraint));
  for (const SpreadConstraint& constraint : pod.soft_spread) soft_.push_back(count_spread(constraint));
}

void Topology::add(DomainCounts& counts, const PodGroup& group, const std::string& key, std::int64_t weight) const {
  for (const auto& [node, pods] : group.nodes)
    if (node->node) counts.add(*node->node, key, weight * pods);
}

void Topology::count_group(const PodGroup& group) {
  const PodInfo& other = *group.example;
  const NamespaceLabels& known = cluster_.namespaces();
  auto matches = [&](const AffinityTerm& term) { return term.matches(*other.pod, known); };
  auto matched_by = [&](const AffinityTerm& term) { return term.matches(*pod_.pod, known); };
  if (!pod_.affinity.empty() && std::all_of(pod_.affinity.begin(), pod_.affinity.end(), matches))
    for (const AffinityTerm& term : pod_.affinity) add(affinity_, group, term.topology_key, 1);
  for (size_t i = 0; i < pod_.anti_affinity.size(); ++i)
    if (matches(pod_.anti_affinity[i])) add(anti_affinity_[i], group, pod_.anti_affinity[i].topology_key, 1);
  for (const AffinityTerm& term : other.anti_affinity)
    if (matched_by(term)) add(against_, group, term.topology_key, 1);
  for (const WeightedTerm& one : pod_.preferred_affinity)
    if (matches(one.term)) add(preferences_, group, one.term.topology_key, one.weight);
  for (const WeightedTerm& one : pod_.preferred_anti_affinity)
    if (matches(one.term)) add(preferences_, group, one.term.topology_key, -one.weight);
  for (const WeightedTerm& one : other.preferred_affinity)
    if (matched_by(one.term)) add(preferences_, group, one.term.topology_key, one.weight);
  for (const WeightedTerm& one : other.preferred_anti_affinity)
    if (matched_by(one.term)) add(preferences_, group, one.term.topology_key, -one.weight);
  // Those who must be near this pod would like it near them (hardPodAffinityWeight 1).
  for (const AffinityTerm& term : other.affinity)
    if (matched_by(term)) add(preferences_, group, term.topology_key, 1);
}

bool Topology::is_eligible(const SpreadConstraint& constraint, const api::Node& node) const {
  if (!label_of(node, constraint.topology_key)) return false;
  if (constraint.honor_affinity && !api::matches_node_affinity(pod_.pod->spec, node)) return false;
  return !constraint.honor_taints || api::tolerates_taints(pod_.pod->spec, node);
}

Topology::Spread Topology::count_spread(const SpreadConstraint& constraint) const {
  Spread spread{&constraint, {}, 0, constraint.selector.matches(pod_.pod->metadata.labels)};
  for (const NodeState* node : cluster_.nodes())
    if (is_eligible(constraint, *node->node)) spread.counts[*label_of(*node->node, constraint.topology_key)];
  for (const auto& group : cluster_.groups()) {
    const api::ObjectMeta& other = group->example->pod->metadata;
    if (group->terminating || other.namespace_ != pod_.pod->metadata.namespace_) continue;
    if (!constraint.selector.matches(other.labels)) continue;
    for (const auto& [node, pods] : group->nodes)
      if (node->node && is_eligible(constraint, *node->node))
        spread.counts[*label_of(*node->node, constraint.topology_key)] += pods;
  }
  if (spread.counts.empty() || static_cast<std::int64_t>(spread.counts.size()) < constraint.min_domains)
    return spread;
  spread.least = std::numeric_limits<std::int64_t>::max();
  for (const auto& [domain, count] : spread.counts) spread.least = std::min(spread.least, count);
  return spread;
}

std::int64_t Topology::Spread::at(const api::Node& node) const {
  const std::string* value = label_of(node, constraint->topology_key);
  if (!value) return 0;
  auto found = counts.find(*value);
  return found == counts.end() ? 0 : found->second;
}

bool Topology::refuses(const api::Node& node, NodeVerdict& verdict) const {
  return refuses_spread(node, verdict) || refuses_affinity(node, verdict);
}

bool Topology::refuses_spread(const api::Node& node, NodeVerdict& verdict) const {
  auto refuse = [&](const char* reason, bool hopeless) {
    verdict.filter = "PodTopologySpread";
    verdict.reasons = {reason};
    verdict.hopeless = hopeless;
    return true;
  };
  for (const Spread& spread : hard_) {
    if (!label_of(node, spread.constraint->topology_key))
      return refuse("node(s) didn't match pod topology spread constraints (missing required label)", true);
    std::int64_t skew = spread.at(node) + (spread.selects_self ? 1 : 0) - spread.least;
    if (skew > spread.constraint->max_skew)
      return refuse("node(s) didn't match pod topology spread constraints", false);
  }
  return false;
}

bool Topology::satisfies_affinity(const api::Node& node) const {
  bool found = true;
  for (const AffinityTerm& term : pod_.affinity) {
    if (!label_of(node, term.topology_key)) return false;
    found &= affinity_.at(node, term.topology_key) > 0;
  }
  if (found) return true;
  // The first pod of a group that wants to be together has nobody to join.
  return affinity_.empty() && std::all_of(pod_.affinity.begin(), pod_.affinity.end(), [&](const AffinityTerm& term) {
           return term.matches(*pod_.pod, cluster_.namespaces());
         });
}

bool Topology::refuses_affinity(const api::Node& node, NodeVerdict& verdict) const {
  auto refuse = [&](const char* reason, bool hopeless) {
    verdict.filter = "InterPodAffinity";
    verdict.reasons = {reason};
    verdict.hopeless = hopeless;
    return true;
  };
  if (!satisfies_affinity(node)) return refuse("node(s) didn't match pod affinity rules", true);
  for (size_t i = 0; i < anti_affinity_.size(); ++i)
    if (anti_affinity_[i].at(node, pod_.anti_affinity[i].topology_key) > 0)
      return refuse("node(s) didn't match pod anti-affinity rules", false);
  if (against_.sum(node) > 0) return refuse("node(s) didn't satisfy existing pods anti-affinity rules", false);
  return false;
}

std::int64_t Topology::crowding(const api::Node& node) const {
  std::int64_t crowd = 0;
  for (const Spread& spread : soft_) crowd += spread.at(node);
  return crowd;
}

}  // namespace skiff::scheduler
