// What follows a decision, without the lock: volumes and bindings are written, refusals reported, victims removed.

#include "api/pods.hpp"
#include "base/log.hpp"
#include "client/together.hpp"
#include "scheduler/scheduler.hpp"

namespace skiff::scheduler {
namespace {

constexpr Duration kVolumePatience = 10min;

Status ignore_missing(const Error& problem) { return problem.code() == Code::NotFound ? ok() : Status(problem); }

// Only the volume that was looked at is bound: a changed one is a conflict.
Status reserve(client::Client& client, const api::PersistentVolume& volume, const api::PersistentVolumeClaim& claim) {
  if (volume.spec.claimRef && volume.spec.claimRef->uid == claim.metadata.uid) return ok();
  api::PersistentVolume next = volume;
  if (!next.spec.claimRef) next.metadata.annotations[api::kBoundByController] = "yes";
  next.spec.claimRef = client::reference_to(std::make_shared<const api::PersistentVolumeClaim>(claim));
  Result<client::Ref<api::PersistentVolume>> written = client.update(std::move(next));
  return written.ok() ? ok() : Status(written.error());
}

Status select_node(client::Client& client, VolumePlan::Binding& binding, const std::string& node) {
  Result<client::Ref<api::PersistentVolumeClaim>> written = client.update_with_retry<api::PersistentVolumeClaim>(
      client::key_of(*binding.claim), [&](api::PersistentVolumeClaim& next) {
        std::string& selected = next.metadata.annotations[api::kSelectedNode];
        if (selected == node) return false;
        selected = node;
        return true;
      });
  TRY(written);
  binding.written = client::revision_of(written.value()->metadata);
  return ok();
}

}  // namespace

void Scheduler::carry_out(Decision& decision) {
  if (decision.node.empty()) {
    report_failure(decision);
    if (decision.victims) preempt(decision);
    return;
  }
  if (!decision.volumes_written && !decision.pod->claims.empty()) {
    Status written = write_volumes(decision.volumes, decision.node);
    if (!written.ok()) {
      return give_up(decision, fmt::format("running PreBind plugin \"VolumeBinding\": {}", written.error().message()), false);
    }
    decision.volumes_written = true;
    decision.patience = clock_.now() + kVolumePatience;
  }
  switch (state_of(decision)) {
    case VolumeState::Bound: return bind(decision);
    case VolumeState::Waiting:
      if (clock_.now() < decision.patience) return await_volumes(std::move(decision));
      return give_up(decision,
                     "running PreBind plugin \"VolumeBinding\": binding volumes: context deadline exceeded", false);
    case VolumeState::GivenUp:
      return give_up(decision, "running PreBind plugin \"VolumeBinding\": binding volumes: provisioning failed", false);
  }
}

Status Scheduler::write_volumes(VolumePlan& plan, const std::string& node) {
  std::vector<client::Task> tasks;
  for (VolumePlan::Binding& one : plan.bindings)
    tasks.push_back([this, &one, &node] {
      return one.volume ? reserve(client_, *one.volume, *one.claim) : select_node(client_, one, node);
    });
  return tasks.empty() ? ok() : client::run_together(tasks);
}

// The claims as the cache has them: the binder's work comes back through it.
Scheduler::VolumeState Scheduler::state_of(const Decision& decision) const {
  for (const client::ObjectKey& key : decision.pod->claims) {
    client::Ref<api::PersistentVolumeClaim> claim = catalogue_.claims.get(key);
    if (!claim || claim->status.phase == "Lost") return VolumeState::GivenUp;
    if (claim->metadata.annotations.contains(api::kBindCompleted)) continue;
    bool refused = std::any_of(decision.volumes.bindings.begin(), decision.volumes.bindings.end(), [&](const auto& one) {
      // A provisioner that failed takes the annotation off again; the cache may still be behind what was written.
      return client::key_of(*one.claim) == key && !one.volume &&
             client::revision_of(claim->metadata) > one.written &&
             !claim->metadata.annotations.contains(api::kSelectedNode);
    });
    if (refused) return VolumeState::GivenUp;
    return VolumeState::Waiting;
  }
  return VolumeState::Bound;
}

void Scheduler::await_volumes(Decision decision) {
  client::ObjectKey key = client::key_of(*decision.pod->pod);
  MutexLock lock(mutex_);
  if (!assumed_.contains(key)) return;  // deleted meanwhile
  waiting_[key] = std::move(decision);
  move_waiting_locked();  // what it waits for may have come while nobody listened
}

void Scheduler::move_waiting_locked() {
  std::erase_if(waiting_, [&](auto& entry) {
    if (state_of(entry.second) == VolumeState::Waiting && clock_.now() < entry.second.patience) return false;
    resumed_.push_back(std::move(entry.second));
    changed_.notify_one();
    return true;
  });
}

void Scheduler::bind(const Decision& decision) {
  const api::Pod& pod = *decision.pod->pod;
  client::ObjectKey key = client::key_of(pod);
  auto binding = std::make_shared<api::Binding>();
  binding->metadata.name = pod.metadata.name;
  binding->metadata.namespace_ = pod.metadata.namespace_;
  binding->metadata.uid = pod.metadata.uid;
  binding->target.kind = "Node";
  binding->target.name = decision.node;
  Result<client::AnyRef> bound = client_.create_subresource(
      api::kind_of<api::Pod>(), key, "binding", client::AnyRef(client::Ref<api::Binding>(binding)));
  if (!bound.ok()) return give_up(decision, bound.error().message(), bound.error().code() == Code::NotFound);
  events_for(pod).normal(client::reference_to(decision.pod->pod), "Scheduled",
                 fmt::format("Successfully assigned {} to {}", key.str(), decision.node));
  MutexLock lock(mutex_);
  queue_.placed(key);
}

// Takes back what was assumed. `gone`: the pod is not there any more.
void Scheduler::give_up(const Decision& decision, const std::string& why, bool gone) {
  const api::Pod& pod = *decision.pod->pod;
  client::ObjectKey key = client::key_of(pod);
  {
    MutexLock lock(mutex_);
    std::erase_if(promises_.claims, [&](const auto& entry) { return entry.second.pod == key; });
    auto assumed = assumed_.find(key);
    // Already seen bound or gone: the informer knows better than this answer.
    if (assumed == assumed_.end() || assumed->second != pod.metadata.uid) return;
    assumed_.erase(assumed);
    cluster_.remove_pod(key);
    if (!gone) queue_.retry_later(decision.pod);
    wake_locked({ClusterChange::What::PodGone});
  }
  if (gone) return;
  log::warning("scheduler", "bind {}: {}", key.str(), why);
  events_for(pod).warning(client::reference_to(decision.pod->pod), "FailedScheduling", why);
  set_unscheduled(pod, "SchedulerError", why);
}

void Scheduler::report_failure(const Decision& decision) {
  const api::Pod& pod = *decision.pod->pod;
  std::string message = unschedulable_message(decision.refusal);
  events_for(pod).warning(client::reference_to(decision.pod->pod), "FailedScheduling", message);
  set_unscheduled(pod, "Unschedulable", message, decision.victims ? decision.victims->node : "");
}

// ---- preemption

void Scheduler::preempt(const Decision& decision) {
  std::vector<client::Task> tasks;
  for (const PodInfoRef& victim : decision.victims->pods)
    tasks.push_back([this, &victim, &decision] { return evict(*victim, decision); });
  Status evicted = client::run_together(tasks);
  drop_lower_nominations(decision);
  if (evicted.ok()) return;
  log::warning("scheduler", "preemption for {}: {}", client::key_of(*decision.pod->pod).str(), evicted.error().message());
  MutexLock lock(mutex_);
  nominations_.erase(client::key_of(*decision.pod->pod));
  queue_.cluster_changed({ClusterChange::What::Other});
}

Status Scheduler::evict(const PodInfo& victim, const Decision& decision) {
  const api::Pod& pod = *victim.pod;
  if (victim.terminating) return ok();
  auto marked = client_.update_with_retry<api::Pod>(
      client::key_of(pod),
      [&](api::Pod& next) {
        if (next.metadata.uid != pod.metadata.uid || api::is_finished(next)) return false;
        api::PodCondition condition;
        condition.type = "DisruptionTarget";
        condition.status = "True";
        condition.reason = "PreemptionByScheduler";
        condition.message = fmt::format("{}: preempting to accommodate a higher priority pod",
                                        decision.pod->pod->spec.schedulerName);
        condition.observedGeneration = next.metadata.generation;
        condition.lastTransitionTime = api::Time::from(clock_.wall_now());
        return api::set_condition(next.status, std::move(condition));
      },
      true);
  if (!marked.ok()) return ignore_missing(marked.error());
  auto removed = client_.remove<api::Pod>(client::key_of(pod), {.uid = pod.metadata.uid});
  if (!removed.ok()) return ignore_missing(removed.error());
  events_for(*decision.pod->pod).normal(client::reference_to(victim.pod), "Preempted",
                 fmt::format("Preempted by pod {} on node {}", decision.pod->pod->metadata.uid, decision.victims->node));
  return ok();
}

// Pods of lower priority that were promised room there will have to look again.
void Scheduler::drop_lower_nominations(const Decision& decision) {
  std::vector<PodInfoRef> dropped;
  {
    MutexLock lock(mutex_);
    std::erase_if(nominations_, [&](const auto& entry) {
      bool lower = entry.second.node == decision.victims->node && entry.second.pod->priority < decision.pod->priority;
      if (lower) dropped.push_back(entry.second.pod);
      return lower;
    });
    if (!dropped.empty()) wake_locked({ClusterChange::What::Other});
  }
  for (const PodInfoRef& one : dropped) {
    auto written = client_.update_with_retry<api::Pod>(
        client::key_of(*one->pod),
        [&](api::Pod& next) {
          if (next.metadata.uid != one->pod->metadata.uid || next.status.nominatedNodeName.empty()) return false;
          next.status.nominatedNodeName.clear();
          return true;
        },
        true);
    if (!written.ok() && written.error().code() != Code::NotFound)
      log::warning("scheduler", "nomination of {}: {}", client::key_of(*one->pod).str(), written.error().message());
  }
}

void Scheduler::set_unscheduled(const api::Pod& pod, const std::string& reason, const std::string& message,
                                const std::string& nominated) {
  auto written = client_.update_with_retry<api::Pod>(
      client::key_of(pod),
      [&](api::Pod& next) {
        if (next.metadata.uid != pod.metadata.uid || !next.spec.nodeName.empty()) return false;
        api::PodCondition condition;
        condition.type = "PodScheduled";
        condition.status = "False";
        condition.reason = reason;
        condition.message = message;
        condition.observedGeneration = next.metadata.generation;
        condition.lastTransitionTime = api::Time::from(clock_.wall_now());
        bool changed = api::set_condition(next.status, std::move(condition));
        if (nominated.empty() || next.status.nominatedNodeName == nominated) return changed;
        next.status.nominatedNodeName = nominated;
        return true;
      },
      true);
  if (!written.ok() && written.error().code() != Code::NotFound)
    log::warning("scheduler", "status of {}: {}", client::key_of(pod).str(), written.error().message());
}

}  // namespace skiff::scheduler
