#pragma once
// Where pods stand in relation to other pods: inter-pod affinity and topology spread
// (plugins interpodaffinity and podtopologyspread). Computed once for a pod, asked for every node.

#include <string>
#include <vector>

#include "scheduler/cluster_state.hpp"
#include "scheduler/explanation.hpp"

namespace skiff::scheduler {

/// Numbers by topology domain, for one decision.
class DomainCounts {
 public:
  void add(const Domains& domains, const NodeState& node, std::int64_t by);
  std::int64_t at(const Domains& domains, const NodeState& node) const;
  /// The sum over all the node's domains.
  std::int64_t sum(const NodeState& node) const;
  bool empty() const { return all_.empty(); }

 private:
  struct Counts {
    const Domains* domains;
    std::vector<std::int64_t> of;
  };
  std::vector<Counts> all_;
};

class Topology {
 public:
  Topology(const PodInfo& pod, const ClusterState& cluster);

  /// Fills reasons, filter and hopeless of `verdict` when the node does not fit.
  bool refuses(const NodeState& node, NodeVerdict& verdict) const;
  /// What preferred pod (anti-)affinity says for the node; may be negative.
  std::int64_t affinity_score(const NodeState& node) const { return preferences_.sum(node); }
  /// How many pods the soft constraints would crowd with; fewer is better.
  std::int64_t crowding(const NodeState& node) const;

 private:
  struct Spread {
    const SpreadConstraint* constraint;
    const Domains* domains;
    std::vector<std::int64_t> counts;  // by domain; kNotEligible for those that do not count
    std::int64_t least = 0;
    bool selects_self = false;
    std::int64_t at(const NodeState& node) const;
  };
  void count_group(const PodGroup& group);
  void add(DomainCounts& counts, const PodGroup& group, const std::string& key, std::int64_t weight) const;
  Spread count_spread(const SpreadConstraint& constraint) const;
  std::vector<bool> eligible_nodes(const SpreadConstraint& constraint) const;
  void count_pods(Spread& spread, const std::vector<bool>& eligible) const;
  bool refuses_spread(const NodeState& node, NodeVerdict& verdict) const;
  bool refuses_affinity(const NodeState& node, NodeVerdict& verdict) const;
  bool satisfies_affinity(const NodeState& node) const;

  const PodInfo& pod_;
  const ClusterState& cluster_;
  std::vector<const Domains*> affinity_domains_, anti_domains_;  // of the pod's own terms
  DomainCounts affinity_, against_;            // against_: anti-affinity of pods that are there already
  std::vector<DomainCounts> anti_affinity_;    // one a term
  DomainCounts preferences_;
  std::vector<Spread> hard_, soft_;
};

}  // namespace skiff::scheduler
