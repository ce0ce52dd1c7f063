#include "controllers/stateful_plan.hpp"

#include <algorithm>
#include <charconv>
#include <map>

#include "api/pods.hpp"
#include "controllers/revisions.hpp"

namespace skiff::controllers {
namespace {

using client::Ref;

struct Range {
  int first, end;
};
Range ordinals(const api::StatefulSet& set) {
  int first = set.spec.ordinals ? set.spec.ordinals->start.value_or(0) : 0;
  return {first, first + set.spec.replicas.value_or(1)};
}

std::int32_t partition_of(const api::StatefulSet& set) {
  const auto& rolling = set.spec.updateStrategy.rollingUpdate;
  return rolling ? rolling->partition.value_or(0) : 0;
}

// The revision a new pod of this ordinal gets: below the partition the old one.
std::string revision_for(const api::StatefulSet& set, const StatefulRevisions& revisions, int ordinal) {
  bool rolls = set.spec.updateStrategy.type != "OnDelete";
  if (rolls && ordinal < partition_of(set) + ordinals(set).first) return revisions.current;
  return revisions.update;
}

bool is_healthy(const api::Pod& pod, const api::StatefulSet& set, api::Time now) {
  return pod.status.phase == "Running" && !pod.metadata.deletionTimestamp &&
         api::is_available(pod, set.spec.minReadySeconds, now);
}

class Planner {
 public:
  Planner(const api::StatefulSet& set, const StatefulRevisions& revisions, api::Time now)
      : set_(set),
        revisions_(revisions),
        now_(now),
        range_(ordinals(set)),
        one_by_one_(set.spec.podManagementPolicy != "Parallel") {}

  StatefulPlan plan(const std::vector<Ref<api::Pod>>& pods) {
    for (const Ref<api::Pod>& pod : pods)
      if (std::optional<int> ordinal = ordinal_of(set_.metadata.name, pod->metadata.name))
        by_ordinal_[*ordinal] = pod;
    if (fill() && shrink()) update();
    return std::move(plan_);
  }

 private:
  // Lowest first; in order, each waits for the one before. False: wait before anything else is done.
  bool fill() {
    for (int ordinal = range_.first; ordinal < range_.end; ++ordinal) {
      auto found = by_ordinal_.find(ordinal);
      if (found == by_ordinal_.end()) {
        plan_.create.push_back({ordinal, revision_for(set_, revisions_, ordinal)});
        if (one_by_one_) return false;
        continue;
      }
      const api::Pod& pod = *found->second;
      if (api::is_finished(pod) && !pod.metadata.deletionTimestamp) {
        plan_.remove.push_back(found->second);  // made anew when it is gone
        if (one_by_one_) return false;
      } else if (one_by_one_ && !is_healthy(pod, set_, now_)) {
        // A broken pod of an old template must not hold up the update that would mend it.
        return !pod.metadata.deletionTimestamp && revision_hash(pod.metadata) != revisions_.update;
      }
    }
    return true;
  }

  // Highest first.
  bool shrink() {
    for (auto entry = by_ordinal_.rbegin(); entry != by_ordinal_.rend(); ++entry) {
      if (entry->first >= range_.first && entry->first < range_.end) continue;
      bool going = static_cast<bool>(entry->second->metadata.deletionTimestamp);
      if (!going) plan_.remove.push_back(entry->second);
      if (one_by_one_) return false;
    }
    return true;
  }

  // From the highest down to the partition, one at a time unless more may be missing.
  void update() {
    if (set_.spec.updateStrategy.type == "OnDelete" || !plan_.create.empty()) return;
    if (int room = max_unavailable(); room > 1) return update_many(room);
    for (int ordinal = range_.end - 1; ordinal >= range_.first + partition_of(set_); --ordinal) {
      auto found = by_ordinal_.find(ordinal);
      if (found == by_ordinal_.end()) return;
      const api::Pod& pod = *found->second;
      if (revision_hash(pod.metadata) != revisions_.update) {
        if (!pod.metadata.deletionTimestamp) plan_.remove.push_back(found->second);
        return;
      }
      if (!is_healthy(pod, set_, now_)) return;
    }
  }

  int max_unavailable() const {
    const auto& rolling = set_.spec.updateStrategy.rollingUpdate;
    if (!rolling || !rolling->maxUnavailable) return 1;
    Result<std::int32_t> scaled = rolling->maxUnavailable->scaled(set_.spec.replicas.value_or(1), true);
    return scaled.ok() ? std::max(1, scaled.value()) : 1;
  }

  void update_many(int room) {
    const int lowest = range_.first + partition_of(set_);
    for (int ordinal = range_.end - 1; ordinal >= lowest; --ordinal) {
      auto found = by_ordinal_.find(ordinal);
      if (found == by_ordinal_.end() || !is_healthy(*found->second, set_, now_)) --room;
    }
    for (int ordinal = range_.end - 1; ordinal >= lowest; --ordinal) {
      auto found = by_ordinal_.find(ordinal);
      if (found == by_ordinal_.end() || found->second->metadata.deletionTimestamp) continue;
      if (revision_hash(found->second->metadata) == revisions_.update) continue;
      bool healthy = is_healthy(*found->second, set_, now_);
      if (healthy && room-- <= 0) return;
      plan_.remove.push_back(found->second);  // a broken one is missing already
    }
  }

  const api::StatefulSet& set_;
  const StatefulRevisions& revisions_;
  const api::Time now_;
  const Range range_;
  const bool one_by_one_;
  std::map<int, Ref<api::Pod>> by_ordinal_;
  StatefulPlan plan_;
};

}  // namespace

std::optional<int> ordinal_of(const std::string& set, const std::string& pod) {
  if (!pod.starts_with(set + "-")) return std::nullopt;
  int ordinal = 0;
  const char *from = pod.data() + set.size() + 1, *end = pod.data() + pod.size();
  auto [stopped, failure] = std::from_chars(from, end, ordinal);
  if (failure != std::errc() || stopped != end) return std::nullopt;
  return ordinal;
}

StatefulPlan plan_stateful(const api::StatefulSet& set, const std::vector<Ref<api::Pod>>& pods,
                           const StatefulRevisions& revisions, api::Time now) {
  return Planner(set, revisions, now).plan(pods);
}

api::StatefulSetStatus stateful_status(const api::StatefulSet& set, const std::vector<Ref<api::Pod>>& pods,
                                       const StatefulRevisions& revisions, api::Time now) {
  api::StatefulSetStatus status;
  status.observedGeneration = set.metadata.generation;
  status.collisionCount = set.status.collisionCount.value_or(0);
  status.conditions = set.status.conditions;
  status.currentRevision = set.metadata.name + "-" + revisions.current;
  status.updateRevision = set.metadata.name + "-" + revisions.update;
  for (const Ref<api::Pod>& pod : pods) {
    if (pod->metadata.deletionTimestamp) continue;
    ++status.replicas;
    if (pod->status.phase == "Running" && api::is_ready(*pod)) ++status.readyReplicas;
    if (is_healthy(*pod, set, now)) ++status.availableReplicas;
    if (revision_hash(pod->metadata) == revisions.current) ++status.currentReplicas;
    if (revision_hash(pod->metadata) == revisions.update) ++status.updatedReplicas;
  }
  bool done = set.spec.updateStrategy.type != "OnDelete" && status.updatedReplicas == status.replicas &&
              status.readyReplicas == status.replicas && status.replicas == set.spec.replicas.value_or(1);
  if (done) {
    status.currentReplicas = status.updatedReplicas;
    status.currentRevision = status.updateRevision;
  }
  return status;
}

}  // namespace skiff::controllers
