#include "controllers/deployment_status.hpp"

#include <algorithm>
#include <limits>

namespace skiff::controllers {
namespace {

constexpr char kProgressing[] = "Progressing";
constexpr char kReplicaFailure[] = "ReplicaFailure";
constexpr char kNewSetAvailable[] = "NewReplicaSetAvailable";
constexpr char kTimedOut[] = "ProgressDeadlineExceeded";

void remove_condition(api::DeploymentStatus& status, std::string_view type) {
  std::erase_if(status.conditions, [&](const auto& one) { return one.type == type; });
}

// The subject of the messages: the new set once it exists.
std::string subject(const api::Deployment& deployment, const Set& latest) {
  return latest ? fmt::format("ReplicaSet \"{}\"", latest->metadata.name)
                : fmt::format("Deployment \"{}\"", deployment.metadata.name);
}

bool has_progressed(const api::DeploymentStatus& before, const api::DeploymentStatus& now) {
  return now.updatedReplicas > before.updatedReplicas ||
         now.replicas - now.updatedReplicas < before.replicas - before.updatedReplicas ||
         now.readyReplicas > before.readyReplicas || now.availableReplicas > before.availableReplicas;
}

bool has_timed_out(const api::Deployment& deployment, const api::DeploymentStatus& status, api::Time now) {
  const api::DeploymentCondition* condition = find_condition(status, kProgressing);
  if (!has_deadline(deployment) || !condition || condition->reason == kNewSetAvailable) return false;
  if (condition->reason == kTimedOut) return true;
  std::int64_t until = condition->lastUpdateTime.unix_seconds() + *deployment.spec.progressDeadlineSeconds;
  return until < now.unix_seconds();
}

void judge_progress(const api::Deployment& deployment, const Set& latest, api::DeploymentStatus& next,
                    api::Time now) {
  const api::DeploymentCondition* known = find_condition(deployment.status, kProgressing);
  std::string about = subject(deployment, latest);
  if (is_complete(deployment, next)) {
    set_condition(next, progressing("True", kNewSetAvailable, about + " has successfully progressed.", now));
  } else if (has_progressed(deployment.status, next)) {
    api::DeploymentCondition condition =
        progressing("True", "ReplicaSetUpdated", about + " is progressing.", now);
    // Replaced even when status and reason stay, so that lastUpdateTime restarts the deadline.
    if (known && known->status == "True") condition.lastTransitionTime = known->lastTransitionTime;
    remove_condition(next, kProgressing);
    set_condition(next, std::move(condition));
  } else if (has_timed_out(deployment, next, now)) {
    set_condition(next, progressing("False", kTimedOut, about + " has timed out progressing.", now));
  }
}

void copy_failure(const Set& latest, const Sets& all, api::DeploymentStatus& next) {
  remove_condition(next, kReplicaFailure);
  Sets judged = latest ? Sets{latest} : all;
  auto failure_of = [](const Set& set) {
    const auto& conditions = set->status.conditions;
    auto found = std::find_if(conditions.begin(), conditions.end(),
                              [](const auto& one) { return one.type == kReplicaFailure; });
    return found == conditions.end() ? nullptr : &*found;
  };
  judged.insert(judged.end(), all.begin(), all.end());
  for (const Set& set : judged) {
    const api::ReplicaSetCondition* failure = failure_of(set);
    if (!failure) continue;
    api::DeploymentCondition condition;
    condition.type = kReplicaFailure;
    condition.status = failure->status;
    condition.reason = failure->reason;
    condition.message = failure->message;
    condition.lastUpdateTime = condition.lastTransitionTime = failure->lastTransitionTime;
    next.conditions.push_back(std::move(condition));
    return;
  }
}

}  // namespace

const api::DeploymentCondition* find_condition(const api::DeploymentStatus& status, std::string_view type) {
  for (const api::DeploymentCondition& condition : status.conditions)
    if (condition.type == type) return &condition;
  return nullptr;
}

void set_condition(api::DeploymentStatus& status, api::DeploymentCondition condition) {
  const api::DeploymentCondition* known = find_condition(status, condition.type);
  if (known && known->status == condition.status && known->reason == condition.reason) return;
  if (known && known->status == condition.status) condition.lastTransitionTime = known->lastTransitionTime;
  remove_condition(status, condition.type);
  status.conditions.push_back(std::move(condition));
}

api::DeploymentCondition progressing(std::string status, std::string reason, std::string message,
                                     api::Time now) {
  api::DeploymentCondition condition;
  condition.type = kProgressing;
  condition.status = std::move(status);
  condition.reason = std::move(reason);
  condition.message = std::move(message);
  condition.lastUpdateTime = condition.lastTransitionTime = now;
  return condition;
}

bool has_deadline(const api::Deployment& deployment) {
  const auto& seconds = deployment.spec.progressDeadlineSeconds;
  return seconds && *seconds != std::numeric_limits<std::int32_t>::max();
}

bool is_complete(const api::Deployment& deployment, const api::DeploymentStatus& status) {
  std::int32_t wanted = deployment.spec.replicas.value_or(1);
  return status.updatedReplicas == wanted && status.replicas == wanted &&
         status.availableReplicas == wanted && status.observedGeneration >= deployment.metadata.generation;
}

api::DeploymentStatus count_status(const api::Deployment& deployment, const Set& latest, const Sets& all,
                                   api::Time now) {
  api::DeploymentStatus next;
  next.observedGeneration = deployment.metadata.generation;
  next.collisionCount = deployment.status.collisionCount;
  next.conditions = deployment.status.conditions;
  std::int32_t terminating = 0;
  for (const Set& set : all) {
    next.replicas += set->status.replicas;
    next.readyReplicas += set->status.readyReplicas;
    next.availableReplicas += set->status.availableReplicas;
    terminating += set->status.terminatingReplicas.value_or(0);
  }
  next.terminatingReplicas = terminating;
  next.updatedReplicas = latest ? latest->status.replicas : 0;
  next.unavailableReplicas = std::max(0, sum_of_replicas(all) - next.availableReplicas);

  std::int32_t unavailable =
      deployment.spec.strategy.type == "RollingUpdate" ? fenceposts(deployment).unavailable : 0;
  bool enough = next.availableReplicas >= deployment.spec.replicas.value_or(1) - unavailable;
  api::DeploymentCondition available = progressing(enough ? "True" : "False", "", "", now);
  available.type = "Available";
  available.reason = enough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable";
  available.message =
      enough ? "Deployment has minimum availability." : "Deployment does not have minimum availability.";
  set_condition(next, std::move(available));
  return next;
}

api::DeploymentStatus rollout_status(const api::Deployment& deployment, const Set& latest, const Sets& all,
                                     api::Time now) {
  api::DeploymentStatus next = count_status(deployment, latest, all, now);
  if (!has_deadline(deployment)) remove_condition(next, kProgressing);
  const api::DeploymentCondition* known = find_condition(deployment.status, kProgressing);
  bool done = next.replicas == next.updatedReplicas && known && known->reason == kNewSetAvailable;
  if (has_deadline(deployment) && !done) judge_progress(deployment, latest, next, now);
  copy_failure(latest, all, next);
  return next;
}

std::optional<WallTime> deadline(const api::Deployment& deployment, const api::DeploymentStatus& status) {
  const api::DeploymentCondition* condition = find_condition(status, kProgressing);
  if (!has_deadline(deployment) || !condition || condition->reason == kTimedOut) return std::nullopt;
  if (is_complete(deployment, status) || condition->reason == kNewSetAvailable) return std::nullopt;
  // A second more than the deadline: times are cut to seconds.
  return condition->lastUpdateTime.wall() +
         std::chrono::seconds(*deployment.spec.progressDeadlineSeconds + 1);
}

}  // namespace skiff::controllers
