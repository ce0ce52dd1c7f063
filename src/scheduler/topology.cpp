#include "scheduler/topology.hpp"

#include <algorithm>
#include <limits>

#include "scheduler/filters.hpp"

namespace skiff::scheduler {
namespace {

void bump(DomainCounts& counts, const api::Node& node, const std::string& key, std::int64_t by) {
  if (const std::string* value = label_of(node, key)) counts[{key, *value}] += by;
}

std::int64_t count_at(const DomainCounts& counts, const api::Node& node, const std::string& key) {
  const std::string* value = label_of(node, key);
  if (!value) return 0;
  auto found = counts.find({key, *value});
  return found == counts.end() ? 0 : found->second;
}

bool matches_all(const std::vector<AffinityTerm>& terms, const api::Pod& pod) {
  return std::all_of(terms.begin(), terms.end(), [&](const AffinityTerm& term) { return term.matches(pod); });
}

bool needs_others(const PodInfo& pod, const ClusterState& cluster) {
  return !pod.affinity.empty() || !pod.anti_affinity.empty() || !pod.preferred_affinity.empty() ||
         !pod.preferred_anti_affinity.empty() || cluster.has_anti_affinity();
}

}  // namespace

const std::string* label_of(const api::Node& node, const std::string& key) {
  auto label = node.metadata.labels.find(key);
  return label == node.metadata.labels.end() ? nullptr : &label->second;
}

Topology::Topology(const PodInfo& pod, const ClusterState& cluster) : pod_(pod) {
  bool others = needs_others(pod, cluster);
  if (!others && pod.hard_spread.empty() && pod.soft_spread.empty()) return;
  std::vector<const NodeState*> nodes = cluster.nodes();
  if (others)
    for (const NodeState* node : nodes)
      for (const auto& [key, other] : node->pods) {
        count_affinity(*node, *other);
        count_preferences(*node, *other);
      }
  for (const SpreadConstraint& constraint : pod.hard_spread) hard_.push_back(count_spread(constraint, nodes));
  for (const SpreadConstraint& constraint : pod.soft_spread) soft_.push_back(count_spread(constraint, nodes));
}

void Topology::count_affinity(const NodeState& node, const PodInfo& other) {
  if (!pod_.affinity.empty() && matches_all(pod_.affinity, *other.pod))
    for (const AffinityTerm& term : pod_.affinity) bump(affinity_, *node.node, term.topology_key, 1);
  for (const AffinityTerm& term : pod_.anti_affinity)
    if (term.matches(*other.pod)) bump(anti_affinity_, *node.node, term.topology_key, 1);
  for (const AffinityTerm& term : other.anti_affinity)
    if (term.matches(*pod_.pod)) bump(against_, *node.node, term.topology_key, 1);
}

void Topology::count_preferences(const NodeState& node, const PodInfo& other) {
  for (const WeightedTerm& one : pod_.preferred_affinity)
    if (one.term.matches(*other.pod)) bump(preferences_, *node.node, one.term.topology_key, one.weight);
  for (const WeightedTerm& one : pod_.preferred_anti_affinity)
    if (one.term.matches(*other.pod)) bump(preferences_, *node.node, one.term.topology_key, -one.weight);
  for (const WeightedTerm& one : other.preferred_affinity)
    if (one.term.matches(*pod_.pod)) bump(preferences_, *node.node, one.term.topology_key, one.weight);
  for (const WeightedTerm& one : other.preferred_anti_affinity)
    if (one.term.matches(*pod_.pod)) bump(preferences_, *node.node, one.term.topology_key, -one.weight);
}

Topology::Spread Topology::count_spread(const SpreadConstraint& constraint,
                                        const std::vector<const NodeState*>& nodes) const {
  Spread spread{&constraint, {}, 0, constraint.selector.matches(pod_.pod->metadata.labels)};
  for (const NodeState* node : nodes) {
    const std::string* value = label_of(*node->node, constraint.topology_key);
    if (!value) continue;
    if (constraint.honor_affinity && !api::matches_node_affinity(pod_.pod->spec, *node->node)) continue;
    if (constraint.honor_taints && !api::tolerates_taints(pod_.pod->spec, *node->node)) continue;
    std::int64_t& count = spread.counts[{constraint.topology_key, *value}];
    for (const auto& [key, other] : node->pods)
      if (key.namespace_ == pod_.pod->metadata.namespace_ && !other->pod->metadata.deletionTimestamp &&
          constraint.selector.matches(other->pod->metadata.labels))
        ++count;
  }
  if (spread.counts.empty() || static_cast<std::int64_t>(spread.counts.size()) < constraint.min_domains)
    return spread;
  spread.least = std::numeric_limits<std::int64_t>::max();
  for (const auto& [domain, count] : spread.counts) spread.least = std::min(spread.least, count);
  return spread;
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
    const std::string& key = spread.constraint->topology_key;
    if (!label_of(node, key))
      return refuse("node(s) didn't match pod topology spread constraints (missing required label)", true);
    std::int64_t skew = count_at(spread.counts, node, key) + (spread.selects_self ? 1 : 0) - spread.least;
    if (skew > spread.constraint->max_skew)
      return refuse("node(s) didn't match pod topology spread constraints", false);
  }
  return false;
}

bool Topology::satisfies_affinity(const api::Node& node) const {
  bool found = true;
  for (const AffinityTerm& term : pod_.affinity) {
    if (!label_of(node, term.topology_key)) return false;
    found &= count_at(affinity_, node, term.topology_key) > 0;
  }
  // The first pod of a group that wants to be together has nobody to join.
  return found || (affinity_.empty() && matches_all(pod_.affinity, *pod_.pod));
}

bool Topology::refuses_affinity(const api::Node& node, NodeVerdict& verdict) const {
  auto refuse = [&](const char* reason, bool hopeless) {
    verdict.filter = "InterPodAffinity";
    verdict.reasons = {reason};
    verdict.hopeless = hopeless;
    return true;
  };
  if (!satisfies_affinity(node)) return refuse("node(s) didn't match pod affinity rules", true);
  for (const AffinityTerm& term : pod_.anti_affinity)
    if (count_at(anti_affinity_, node, term.topology_key) > 0)
      return refuse("node(s) didn't match pod anti-affinity rules", false);
  for (const auto& [domain, count] : against_) {
    const std::string* value = label_of(node, domain.first);
    if (value && *value == domain.second && count > 0)
      return refuse("node(s) didn't satisfy existing pods anti-affinity rules", false);
  }
  return false;
}

std::int64_t Topology::affinity_score(const api::Node& node) const {
  std::int64_t score = 0;
  for (const auto& [domain, weight] : preferences_) {
    const std::string* value = label_of(node, domain.first);
    if (value && *value == domain.second) score += weight;
  }
  return score;
}

std::int64_t Topology::crowding(const api::Node& node) const {
  std::int64_t crowd = 0;
  for (const Spread& spread : soft_) crowd += count_at(spread.counts, node, spread.constraint->topology_key);
  return crowd;
}

}  // namespace skiff::scheduler
