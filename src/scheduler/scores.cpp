#include "scheduler/scores.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "api/nodes.hpp"

namespace skiff::scheduler {
namespace {

constexpr std::int64_t kMax = 100;

using Scores = std::vector<std::int64_t>;

// NodeResourcesFit: by the share of CPU and memory that is left, or that is taken.
std::int64_t packed(const PodInfo& pod, const NodeState& node, Packing packing) {
  auto share = [packing](std::int64_t used, std::int64_t total) {
    if (total <= 0 || used > total) return std::int64_t{0};
    return (packing == Packing::LeastAllocated ? total - used : used) * kMax / total;
  };
  std::int64_t cpu = share(node.scored.milli_cpu + pod.scored.milli_cpu, node.allocatable.milli_cpu);
  std::int64_t memory = share(node.scored.memory + pod.scored.memory, node.allocatable.memory);
  return (cpu + memory) / 2;
}

// ImageLocality: how much of the pod's images is there, less so when few nodes have them (a herd would gather).
std::int64_t images_present(const PodInfo& pod, const NodeState& node, const ClusterState& cluster) {
  constexpr std::int64_t kLeast = 23LL << 20, kMostPerContainer = 1000LL << 20;
  const auto& containers = pod.pod->spec.containers;
  const auto nodes = static_cast<std::int64_t>(cluster.nodes().size());
  if (containers.empty() || nodes == 0 || node.images.empty()) return 0;
  std::int64_t sum = 0;
  for (const api::Container& container : containers) {
    auto image = node.images.find(container.image);
    if (image == node.images.end()) image = node.images.find(container.image + ":latest");
    if (image != node.images.end()) sum += image->second * cluster.nodes_with_image(image->first) / nodes;
  }
  const std::int64_t most = kMostPerContainer * static_cast<std::int64_t>(containers.size());
  return (std::clamp(sum, kLeast, most) - kLeast) * kMax / (most - kLeast);
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
  auto found = node.owners.find(pod.owner_uid);
  return found == node.owners.end() ? 0 : found->second;
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

NodeStates best_nodes(const PodInfo& pod, const ClusterState& cluster, const Topology& topology,
                      const NodeStates& candidates, Packing packing) {
  if (candidates.size() <= 1) return candidates;
  auto scored = [&](std::int64_t weight, auto score) {
    Weighted weighted{{}, weight};
    weighted.scores.reserve(candidates.size());
    for (const NodeState* node : candidates) weighted.scores.push_back(score(*node));
    return weighted;
  };
  auto normalised = [&](std::int64_t weight, bool fewer_is_better, auto score) {
    Weighted weighted = scored(weight, score);
    normalise(weighted.scores, fewer_is_better);
    return weighted;
  };
  bool own_spread = !pod.soft_spread.empty();
  const Weighted all[] = {
      scored(1, [&](const NodeState& node) { return packed(pod, node, packing); }),
      scored(1, [&](const NodeState& node) { return balanced(pod, node); }),
      scored(1, [&](const NodeState& node) { return images_present(pod, node, cluster); }),
      normalised(3, true, [&](const NodeState& node) { return untolerated_preferences(pod, node); }),
      normalised(2, false, [&](const NodeState& node) { return preferred_affinity(pod, node); }),
      normalised(2, false, [&](const NodeState& node) { return topology.affinity_score(node); }),
      normalised(2, true,
                 [&](const NodeState& node) {
                   return own_spread ? topology.crowding(node) : siblings(pod, node);
                 }),
  };
  NodeStates best;
  std::int64_t highest = std::numeric_limits<std::int64_t>::min();
  for (size_t i = 0; i < candidates.size(); ++i) {
    std::int64_t total = 0;
    for (const Weighted& one : all) total += one.scores[i] * one.weight;
    if (total > highest) best.clear();
    if (total >= highest) best.push_back(candidates[i]);
    highest = std::max(highest, total);
  }
  return best;
}

}  // namespace skiff::scheduler
