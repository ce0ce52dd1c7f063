#pragma once
// Where pods stand in relation to other pods: inter-pod affinity and topology spread
// (plugins interpodaffinity and podtopologyspread). Computed once for a pod, asked for every node.

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "scheduler/cluster_state.hpp"
#include "scheduler/explanation.hpp"

namespace skiff::scheduler {

/// The node's value of a label, or null.
const std::string* label_of(const api::Node& node, const std::string& key);

/// Numbers by topology domain: a node label and its value. Points into nodes and pods: for one decision.
class DomainCounts {
 public:
  void add(const api::Node& node, const std::string& key, std::int64_t by);
  std::int64_t at(const api::Node& node, const std::string& key) const;
  /// The sum over all the node's domains.
  std::int64_t sum(const api::Node& node) const;
  bool empty() const { return by_key_.empty(); }

 private:
  std::vector<std::pair<const std::string*, std::unordered_map<std::string_view, std::int64_t>>> by_key_;
};

class Topology {
 public:
  Topology(const PodInfo& pod, const ClusterState& cluster);

  /// Fills reasons, filter and hopeless of `verdict` when the node does not fit.
  bool refuses(const api::Node& node, NodeVerdict& verdict) const;
  /// What preferred pod (anti-)affinity says for the node; may be negative.
  std::int64_t affinity_score(const api::Node& node) const { return preferences_.sum(node); }
  /// How many pods the soft constraints would crowd with; fewer is better.
  std::int64_t crowding(const api::Node& node) const;

 private:
  struct Spread {
    const SpreadConstraint* constraint;
    std::unordered_map<std::string_view, std::int64_t> counts;  // of eligible domains
    std::int64_t least = 0;
    bool selects_self = false;
    std::int64_t at(const api::Node& node) const;
  };
  void count_group(const PodGroup& group);
  void add(DomainCounts& counts, const PodGroup& group, const std::string& key, std::int64_t weight) const;
  Spread count_spread(const SpreadConstraint& constraint) const;
  bool is_eligible(const SpreadConstraint& constraint, const api::Node& node) const;
  bool refuses_spread(const api::Node& node, NodeVerdict& verdict) const;
  bool refuses_affinity(const api::Node& node, NodeVerdict& verdict) const;
  bool satisfies_affinity(const api::Node& node) const;

  const PodInfo& pod_;
  const ClusterState& cluster_;
  DomainCounts affinity_, against_;            // against_: anti-affinity of pods that are there already
  std::vector<DomainCounts> anti_affinity_;    // one a term
  DomainCounts preferences_;
  std::vector<Spread> hard_, soft_;
};

}  // namespace skiff::scheduler
