#include "scheduler/scores.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "scheduler/filters.hpp"
#include "scheduler/topology.hpp"

namespace skiff::scheduler {
namespace {

constexpr std::int64_t kMax = 100;

using Scores = std::vector<std::int64_t>;

std::int64_t free_share(std::int64_t used, std::int64_t total) {
  return total <= 0 || used > total ? 0 : (total - used) * kMax / total;
}

// NodeResourcesFit with LeastAllocated: empty nodes first.
std::int64_t least_allocated(const PodInfo& pod, const NodeState& node) {
  std::int64_t cpu = free_share(node.scored.milli_cpu + pod.scored.milli_cpu, node.allocatable.milli_cpu);
  std::int64_t memory = free_share(node.scored.memory + pod.scored.memory, node.allocatable.memory);
  return (cpu + memory) / 2;
}

// NodeResourcesBalancedAllocation: CPU and memory used in the same proportion.
std::int64_t balanced(const PodInfo& pod, const NodeState& node) {
  if (node.allocatable.milli_cpu <= 0 || node.allocatable.memory <= 0) return 0;
  auto share = [](std::int64_t used, std::int64_t total) {
    return std::min(1.0, static_cast<double>(used) / static_cast<double>(total));
  };
  double cpu = share(node.requested.milli_cpu + pod.requests.milli_cpu, node.allocatable.milli_cpu);
  double memory = share(node.requested.memory + pod.requests.memory, node.allocatable.memory);
  return static_cast<std::int64_t>((1.0 - std::abs(cpu - memory) / 2.0) * static_cast<double>(kMax));
}

std::int64_t untolerated_preferences(const PodInfo& pod, const NodeState& node) {
  return std::count_if(
      node.node->spec.taints.begin(), node.node->spec.taints.end(), [&](const api::Taint& taint) {
        return taint.effect == "PreferNoSchedule" && !api::tolerates(pod.pod->spec.tolerations, taint);
      });
}

std::int64_t preferred_affinity(const PodInfo& pod, const NodeState& node) {
  std::int64_t score = 0;
  if (!pod.pod->spec.affinity || !pod.pod->spec.affinity->nodeAffinity) return score;
  for (const auto& term :
       pod.pod->spec.affinity->nodeAffinity->preferredDuringSchedulingIgnoredDuringExecution)
    if (api::matches_term(term.preference, *node.node)) score += term.weight;
  return score;
}

// Without constraints of its own a pod keeps away from its siblings.
std::int64_t siblings(const PodInfo& pod, const NodeState& node) {
  if (pod.owner_uid.empty()) return 0;
  return std::count_if(node.pods.begin(), node.pods.end(),
                       [&](const auto& other) { return other.second->owner_uid == pod.owner_uid; });
}

// To 0..100, over the spread of the values; `fewer_is_better` turns them around.
void normalise(Scores& scores, bool fewer_is_better) {
  auto [least, most] = std::minmax_element(scores.begin(), scores.end());
  const std::int64_t low = *least, high = *most;
  for (std::int64_t& score : scores) {
    if (low == high)
      score = 0;
    else
      score = (fewer_is_better ? high - score : score - low) * kMax / (high - low);
  }
}

struct Weighted {
  Scores scores;
  std::int64_t weight;
};

}  // namespace

std::vector<std::string> best_nodes(const PodInfo& pod, const ClusterState& cluster,
                                    const std::vector<std::string>& candidates) {
  if (candidates.size() <= 1) return candidates;
  const Topology topology(pod, cluster);
  std::vector<const NodeState*> nodes;
  for (const NodeState* node : cluster.nodes())
    if (std::find(candidates.begin(), candidates.end(), node->node->metadata.name) != candidates.end())
      nodes.push_back(node);

  auto scored = [&](std::int64_t weight, auto score) {
    Weighted weighted{{}, weight};
    for (const NodeState* node : nodes) weighted.scores.push_back(score(*node));
    return weighted;
  };
  auto normalised = [&](std::int64_t weight, bool fewer_is_better, auto score) {
    Weighted weighted = scored(weight, score);
    normalise(weighted.scores, fewer_is_better);
    return weighted;
  };
  bool own_spread = !pod.soft_spread.empty();
  const Weighted all[] = {
      scored(1, [&](const NodeState& node) { return least_allocated(pod, node); }),
      scored(1, [&](const NodeState& node) { return balanced(pod, node); }),
      normalised(3, true, [&](const NodeState& node) { return untolerated_preferences(pod, node); }),
      normalised(2, false, [&](const NodeState& node) { return preferred_affinity(pod, node); }),
      normalised(2, false, [&](const NodeState& node) { return topology.affinity_score(*node.node); }),
      normalised(2, true,
                 [&](const NodeState& node) {
                   return own_spread ? topology.crowding(*node.node) : siblings(pod, node);
                 }),
  };
  std::vector<std::string> best;
  std::int64_t highest = std::numeric_limits<std::int64_t>::min();
  for (size_t i = 0; i < nodes.size(); ++i) {
    std::int64_t total = 0;
    for (const Weighted& one : all) total += one.scores[i] * one.weight;
    if (total > highest) best.clear();
    if (total >= highest) best.push_back(nodes[i]->node->metadata.name);
    highest = std::max(highest, total);
  }
  return best;
}

}  // namespace skiff::scheduler
