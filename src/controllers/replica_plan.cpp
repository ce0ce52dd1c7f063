#include "controllers/replica_plan.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <map>

#include "api/pods.hpp"

namespace skiff::controllers {
namespace {

using client::Ref;

int phase_rank(const api::Pod& pod) {
  if (pod.status.phase == "Pending") return 0;
  if (pod.status.phase == "Unknown") return 1;
  return 2;
}

std::int32_t deletion_cost(const api::Pod& pod) {
  auto annotation = pod.metadata.annotations.find("controller.kubernetes.io/pod-deletion-cost");
  std::int32_t cost = 0;
  if (annotation == pod.metadata.annotations.end()) return cost;
  const std::string& text = annotation->second;
  std::from_chars(text.data(), text.data() + text.size(), cost);
  return cost;
}

std::int32_t restarts(const api::Pod& pod) {
  std::int32_t most = 0;
  for (const api::ContainerStatus& status : pod.status.containerStatuses)
    most = std::max(most, status.restartCount);
  return most;
}

// Ages are compared by their order of magnitude, so that victims are not always the same generation.
int age_rank(api::Time since, api::Time now) {
  if (!since) return -1;
  std::int64_t age = std::max<std::int64_t>(0, now.unix_seconds() - since.unix_seconds());
  return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(age)));
}

// Ordered by who goes first; fields from the most to the least important.
struct Rank {
  bool scheduled;
  int phase;
  bool ready;
  std::int32_t cost;
  int fewer_neighbours;  // negated: crowded nodes first
  int ready_age;
  std::int32_t fewer_restarts;
  int age;
  std::string uid;
  auto operator<=>(const Rank&) const = default;
};

Rank rank_of(const api::Pod& pod, int neighbours, api::Time now) {
  bool ready = api::is_ready(pod);
  return {
      .scheduled = !pod.spec.nodeName.empty(),
      .phase = phase_rank(pod),
      .ready = ready,
      .cost = deletion_cost(pod),
      .fewer_neighbours = -neighbours,
      .ready_age = ready ? age_rank(api::find_condition(pod.status, "Ready")->lastTransitionTime, now) : 0,
      .fewer_restarts = -restarts(pod),
      .age = age_rank(pod.metadata.creationTimestamp, now),
      .uid = pod.metadata.uid};
}

bool has_labels(const api::Pod& pod, const std::map<std::string, std::string>& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& label) {
    auto found = pod.metadata.labels.find(label.first);
    return found != pod.metadata.labels.end() && found->second == label.second;
  });
}

}  // namespace

Pods choose_victims(Pods active, const Pods& related, size_t count, api::Time now) {
  if (count >= active.size()) return active;
  std::map<std::string, int> crowd;
  for (const Ref<api::Pod>& pod : related)
    if (api::is_active(*pod)) ++crowd[pod->spec.nodeName];
  std::vector<std::pair<Rank, Ref<api::Pod>>> ranked;
  ranked.reserve(active.size());
  for (Ref<api::Pod>& pod : active)
    ranked.emplace_back(rank_of(*pod, crowd[pod->spec.nodeName], now), std::move(pod));
  std::sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Pods victims;
  for (size_t i = 0; i < count; ++i) victims.push_back(std::move(ranked[i].second));
  return victims;
}

ReplicaCounts count_replicas(const Pods& pods, const api::PodTemplateSpec& pod_template,
                             std::int32_t min_ready_seconds, api::Time now) {
  ReplicaCounts counts;
  for (const Ref<api::Pod>& pod : pods) {
    if (api::is_finished(*pod)) continue;
    if (pod->metadata.deletionTimestamp) {
      ++counts.terminating;
      continue;
    }
    ++counts.replicas;
    if (has_labels(*pod, pod_template.metadata.labels)) ++counts.fully_labeled;
    if (!api::is_ready(*pod)) continue;
    ++counts.ready;
    if (api::is_available(*pod, min_ready_seconds, now)) ++counts.available;
  }
  return counts;
}

std::optional<WallTime> next_available(const Pods& pods, std::int32_t min_ready_seconds, api::Time now) {
  std::optional<WallTime> next;
  for (const Ref<api::Pod>& pod : pods) {
    if (!api::is_active(*pod) || !api::is_ready(*pod)) continue;
    if (api::is_available(*pod, min_ready_seconds, now)) continue;
    api::Time since = api::find_condition(pod->status, "Ready")->lastTransitionTime;
    if (!since) continue;
    WallTime due = since.wall() + std::chrono::seconds(min_ready_seconds);
    if (!next || due < *next) next = due;
  }
  return next;
}

}  // namespace skiff::controllers
