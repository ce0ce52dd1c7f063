#include "scheduler/topology.hpp"

#include <algorithm>
#include <limits>

#include "api/nodes.hpp"

namespace skiff::scheduler {

namespace {

constexpr std::int64_t kNotEligible = -1;

}  // namespace

// ---- DomainCounts

void DomainCounts::add(const Domains& domains, const NodeState& node, std::int64_t by) {
  const int domain = domains.of[node.ordinal];
  if (domain == Domains::kNone) return;
  auto found = std::find_if(all_.begin(), all_.end(), [&](const Counts& one) { return one.domains == &domains; });
  if (found == all_.end())
    found = all_.insert(all_.end(), {&domains, std::vector<std::int64_t>(static_cast<size_t>(domains.count))});
  found->of[static_cast<size_t>(domain)] += by;
}

std::int64_t DomainCounts::at(const Domains& domains, const NodeState& node) const {
  const int domain = domains.of[node.ordinal];
  if (domain == Domains::kNone) return 0;
  for (const Counts& one : all_)
    if (one.domains == &domains) return one.of[static_cast<size_t>(domain)];
  return 0;
}

std::int64_t DomainCounts::sum(const NodeState& node) const {
  std::int64_t sum = 0;
  for (const Counts& one : all_)
    if (int domain = one.domains->of[node.ordinal]; domain != Domains::kNone) sum += one.of[static_cast<size_t>(domain)];
  return sum;
}

// ---- Topology

Topology::Topology(const PodInfo& pod, const ClusterState& cluster)
    : pod_(pod), cluster_(cluster), anti_affinity_(pod.anti_affinity.size()) {
  for (const AffinityTerm& term : pod.affinity) affinity_domains_.push_back(&cluster.domains(term.topology_key));
  for (const AffinityTerm& term : pod.anti_affinity) anti_domains_.push_back(&cluster.domains(term.topology_key));
  for (const auto& group : cluster.groups()) count_group(*group);
  for (const SpreadConstraint& constraint : pod.hard_spread) hard_.push_back(count_spread(constraint));
  for (const SpreadConstraint& constraint : pod.soft_spread) soft_.push_back(count_spread(constraint));
}

void Topology::add(DomainCounts& counts, const PodGroup& group, const std::string& key, std::int64_t weight) const {
  const Domains& domains = cluster_.domains(key);
  for (const auto& [node, pods] : group.nodes)
    if (node->node) counts.add(domains, *node, weight * pods);
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

// By ordinal: the nodes whose domains count for the constraint.
std::vector<bool> Topology::eligible_nodes(const SpreadConstraint& constraint) const {
  const api::PodSpec& spec = pod_.pod->spec;
  const bool picky = constraint.honor_affinity && (!spec.nodeSelector.empty() || (spec.affinity && spec.affinity->nodeAffinity));
  const Domains& domains = cluster_.domains(constraint.topology_key);
  std::vector<bool> eligible(cluster_.nodes().size());
  for (const NodeState* node : cluster_.nodes())
    eligible[node->ordinal] = domains.of[node->ordinal] != Domains::kNone &&
                              (!picky || api::matches_node_affinity(spec, *node->node)) &&
                              (!constraint.honor_taints || api::tolerates_taints(spec, *node->node));
  return eligible;
}

void Topology::count_pods(Spread& spread, const std::vector<bool>& eligible) const {
  for (const auto& group : cluster_.groups()) {
    const api::ObjectMeta& other = group->example->pod->metadata;
    if (group->terminating || other.namespace_ != pod_.pod->metadata.namespace_) continue;
    if (!spread.constraint->selector.matches(other.labels)) continue;
    for (const auto& [node, pods] : group->nodes)
      if (node->node && eligible[node->ordinal])
        spread.counts[static_cast<size_t>(spread.domains->of[node->ordinal])] += pods;
  }
}

Topology::Spread Topology::count_spread(const SpreadConstraint& constraint) const {
  const Domains& domains = cluster_.domains(constraint.topology_key);
  Spread spread{&constraint, &domains, std::vector<std::int64_t>(static_cast<size_t>(domains.count), kNotEligible), 0,
                constraint.selector.matches(pod_.pod->metadata.labels)};
  const std::vector<bool> eligible = eligible_nodes(constraint);
  for (size_t node = 0; node < eligible.size(); ++node)
    if (eligible[node]) spread.counts[static_cast<size_t>(domains.of[node])] = 0;
  count_pods(spread, eligible);
  std::int64_t found = 0, least = std::numeric_limits<std::int64_t>::max();
  for (std::int64_t count : spread.counts) {
    if (count == kNotEligible) continue;
    ++found;
    least = std::min(least, count);
  }
  if (found > 0 && found >= constraint.min_domains) spread.least = least;
  return spread;
}

std::int64_t Topology::Spread::at(const NodeState& node) const {
  const int domain = domains->of[node.ordinal];
  return domain == Domains::kNone ? 0 : std::max<std::int64_t>(0, counts[static_cast<size_t>(domain)]);
}

bool Topology::refuses(const NodeState& node, NodeVerdict& verdict) const {
  return refuses_spread(node, verdict) || refuses_affinity(node, verdict);
}

bool Topology::refuses_spread(const NodeState& node, NodeVerdict& verdict) const {
  auto refuse = [&](const char* reason, bool hopeless) {
    verdict.filter = "PodTopologySpread";
    verdict.reasons = {reason};
    verdict.hopeless = hopeless;
    return true;
  };
  for (const Spread& spread : hard_) {
    if (spread.domains->of[node.ordinal] == Domains::kNone)
      return refuse("node(s) didn't match pod topology spread constraints (missing required label)", true);
    std::int64_t skew = spread.at(node) + (spread.selects_self ? 1 : 0) - spread.least;
    if (skew > spread.constraint->max_skew)
      return refuse("node(s) didn't match pod topology spread constraints", false);
  }
  return false;
}

bool Topology::satisfies_affinity(const NodeState& node) const {
  bool found = true;
  for (const Domains* domains : affinity_domains_) {
    if (domains->of[node.ordinal] == Domains::kNone) return false;
    found &= affinity_.at(*domains, node) > 0;
  }
  if (found) return true;
  // The first pod of a group that wants to be together has nobody to join.
  return affinity_.empty() && std::all_of(pod_.affinity.begin(), pod_.affinity.end(), [&](const AffinityTerm& term) {
           return term.matches(*pod_.pod, cluster_.namespaces());
         });
}

bool Topology::refuses_affinity(const NodeState& node, NodeVerdict& verdict) const {
  auto refuse = [&](const char* reason, bool hopeless) {
    verdict.filter = "InterPodAffinity";
    verdict.reasons = {reason};
    verdict.hopeless = hopeless;
    return true;
  };
  if (!satisfies_affinity(node)) return refuse("node(s) didn't match pod affinity rules", true);
  for (size_t i = 0; i < anti_affinity_.size(); ++i)
    if (anti_affinity_[i].at(*anti_domains_[i], node) > 0)
      return refuse("node(s) didn't match pod anti-affinity rules", false);
  if (against_.sum(node) > 0) return refuse("node(s) didn't satisfy existing pods anti-affinity rules", false);
  return false;
}

std::int64_t Topology::crowding(const NodeState& node) const {
  std::int64_t crowd = 0;
  for (const Spread& spread : soft_) crowd += spread.at(node);
  return crowd;
}

}  // namespace skiff::scheduler
