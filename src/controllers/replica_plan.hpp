#pragma once
// What ReplicaSets and ReplicationControllers decide, without doing it.

#include <optional>
#include <vector>

#include "api/gen/pod.hpp"
#include "client/object.hpp"

namespace skiff::controllers {

using Pods = std::vector<client::Ref<api::Pod>>;

/// The `count` of `active` to give up first: not scheduled, not running, not ready, cheap by annotation, on
/// crowded nodes, young ones (controller.ActivePodsWithRanks). `related`: all pods of the same Deployment,
/// for crowding.
Pods choose_victims(Pods active, const Pods& related, size_t count, api::Time now);

struct ReplicaCounts {
  std::int32_t replicas = 0, fully_labeled = 0, ready = 0, available = 0, terminating = 0;
};
/// Counts the active ones of `pods`; those that go are only `terminating`.
ReplicaCounts count_replicas(const Pods& pods, const api::PodTemplateSpec& pod_template,
                             std::int32_t min_ready_seconds, api::Time now);

/// When the next ready pod will have been ready for long enough to be available; nothing when none waits for
/// that.
std::optional<WallTime> next_available(const Pods& pods, std::int32_t min_ready_seconds, api::Time now);

}  // namespace skiff::controllers
