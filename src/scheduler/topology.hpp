#pragma once
// Where pods stand in relation to other pods: inter-pod affinity and topology spread
// (plugins interpodaffinity and podtopologyspread). Computed once for a pod, asked for every node.

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scheduler/cluster_state.hpp"
#include "scheduler/explanation.hpp"

namespace skiff::scheduler {

using Domain = std::pair<std::string, std::string>;  // a label's key and value
using DomainCounts = std::map<Domain, std::int64_t>;

/// The node's value of a label, or null.
const std::string* label_of(const api::Node& node, const std::string& key);

class Topology {
 public:
  Topology(const PodInfo& pod, const ClusterState& cluster);

  /// Fills reasons, filter and hopeless of `verdict` when the node does not fit.
  bool refuses(const api::Node& node, NodeVerdict& verdict) const;
  /// What preferred pod (anti-)affinity says for the node; may be negative.
  std::int64_t affinity_score(const api::Node& node) const;
  /// How many pods the soft constraints would crowd with; fewer is better.
  std::int64_t crowding(const api::Node& node) const;

 private:
  struct Spread {
    const SpreadConstraint* constraint;
    DomainCounts counts;  // of eligible domains
    std::int64_t least = 0;
    bool selects_self = false;
  };
  void count_affinity(const NodeState& node, const PodInfo& other);
  void count_preferences(const NodeState& node, const PodInfo& other);
  Spread count_spread(const SpreadConstraint& constraint, const std::vector<const NodeState*>& nodes) const;
  bool refuses_spread(const api::Node& node, NodeVerdict& verdict) const;
  bool refuses_affinity(const api::Node& node, NodeVerdict& verdict) const;
  bool satisfies_affinity(const api::Node& node) const;

  const PodInfo& pod_;
  DomainCounts affinity_, anti_affinity_, against_;  // against_: anti-affinity of pods that are there already
  DomainCounts preferences_;
  std::vector<Spread> hard_, soft_;
};

}  // namespace skiff::scheduler
