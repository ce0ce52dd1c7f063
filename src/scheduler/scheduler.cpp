#include "scheduler/scheduler.hpp"

#include <pthread.h>

#include "api/pods.hpp"
#include "base/log.hpp"
#include "scheduler/filters.hpp"
#include "scheduler/scores.hpp"

namespace skiff::scheduler {
namespace {

constexpr char kSchedulerName[] = "default-scheduler";

// Decisions are made one at a time; the others wait for the store to write bindings, which it does in
// batches.
constexpr int kWorkers = 8;

bool is_ours(const api::Pod& pod) {
  return pod.spec.nodeName.empty() && pod.spec.schedulerName == kSchedulerName &&
         !pod.metadata.deletionTimestamp && !api::is_finished(pod);
}

// A change by which a pod that did not fit may fit now.
bool may_help(const api::Pod& before, const api::Pod& now) {
  return !(before.spec == now.spec) || before.metadata.labels != now.metadata.labels;
}

bool same_for_scheduling(const api::Node& before, const api::Node& now) {
  return before.spec == now.spec && before.metadata.labels == now.metadata.labels &&
         before.status.allocatable == now.status.allocatable;
}

}  // namespace

Scheduler::Scheduler(const Uses& uses)
    : client_(uses.client),
      clock_(uses.clock),
      random_(uses.random),
      pods_(uses.informers.of<api::Pod>()),
      nodes_(uses.informers.of<api::Node>()),
      events_(uses.client, uses.clock, uses.random, kSchedulerName),
      queue_(uses.clock) {
  pods_.on_change([this](const client::Ref<api::Pod>& before, const client::Ref<api::Pod>& now) {
    pod_changed(before, now);
  });
  nodes_.on_change([this](const client::Ref<api::Node>& before, const client::Ref<api::Node>& now) {
    node_changed(before, now);
  });
}

bool Scheduler::start(std::stop_token stop) {
  if (!pods_.wait_synced(stop) || !nodes_.wait_synced(stop)) return false;
  for (int i = 0; i < kWorkers; ++i)
    workers_.emplace_back([this](std::stop_token stopped) {
      ::pthread_setname_np(::pthread_self(), "scheduler");
      run(std::move(stopped));
    });
  return true;
}

void Scheduler::stop() {
  for (std::jthread& worker : workers_) worker.request_stop();
  workers_.clear();
}

std::vector<NodeVerdict> Scheduler::explain(const api::Pod& pod) const {
  PodInfo info(std::make_shared<api::Pod>(pod));
  MutexLock lock(mutex_);
  return filter_nodes(info, cluster_);
}

// ---- what the informers tell

void Scheduler::wake_locked(SchedulingQueue::Change change) {
  queue_.cluster_changed(change);
  changed_.notify_one();
}

void Scheduler::pod_gone_locked(const api::Pod& pod) {
  client::ObjectKey key = client::key_of(pod);
  queue_.remove(key);
  auto assumed = assumed_.find(key);
  if (assumed != assumed_.end()) assumed_.erase(assumed);
  if (!cluster_.is_counted(key)) return;
  cluster_.remove_pod(key);
  wake_locked(SchedulingQueue::Change::Room);
}

void Scheduler::pod_changed(const client::Ref<api::Pod>& before, const client::Ref<api::Pod>& now) {
  if (before && (!now || now->metadata.uid != before->metadata.uid || api::is_finished(*now))) {
    MutexLock lock(mutex_);
    pod_gone_locked(*before);
  }
  if (!now || api::is_finished(*now)) return;
  auto info = std::make_shared<const PodInfo>(now);
  client::ObjectKey key = client::key_of(*now);
  MutexLock lock(mutex_);
  if (!now->spec.nodeName.empty()) {
    cluster_.set_pod(info, now->spec.nodeName);
    assumed_.erase(key);
    queue_.remove(key);
    bool known = before && before->spec.nodeName == now->spec.nodeName;
    if (known && before->metadata.labels != now->metadata.labels)
      wake_locked(SchedulingQueue::Change::Room);
    else if (!known)
      wake_locked(SchedulingQueue::Change::Neighbours);
    return;
  }
  if (!is_ours(*now) || !now->spec.schedulingGates.empty()) return queue_.remove(key);
  if (assumed_.contains(key)) return;  // being bound
  queue_.put(info, !before || may_help(*before, *now));
  changed_.notify_one();
}

void Scheduler::node_changed(const client::Ref<api::Node>& before, const client::Ref<api::Node>& now) {
  if (before && now && same_for_scheduling(*before, *now)) return;  // a heartbeat
  MutexLock lock(mutex_);
  if (!now) return cluster_.remove_node(before->metadata.name);
  cluster_.set_node(now);
  wake_locked(SchedulingQueue::Change::Room);
}

// ---- placing

void Scheduler::run(std::stop_token stop) {
  Decision decision;
  while (decide(stop, decision)) {
    if (decision.node.empty())
      report_failure(decision);
    else
      bind(decision);
  }
}

bool Scheduler::decide(std::stop_token stop, Decision& decision) {
  MutexLock lock(mutex_);
  while (!(decision.pod = queue_.take())) {
    if (stop.stop_requested()) return false;
    clock_.wait(mutex_, changed_, stop, queue_.next_due().value_or(TimePoint::max()));
  }
  decision.node.clear();
  decision.verdicts = filter_nodes(*decision.pod, cluster_);
  std::vector<std::string> fitting;
  for (const NodeVerdict& verdict : decision.verdicts)
    if (verdict.reasons.empty()) fitting.push_back(verdict.node);
  if (fitting.empty()) {
    // Under the same lock as the decision, so that no change of the cluster falls in between.
    queue_.failed(decision.pod);
  } else {
    std::vector<std::string> best = best_nodes(*decision.pod, cluster_, fitting);
    decision.node = best[best.size() == 1 ? 0 : random_.below(best.size())];
    cluster_.set_pod(decision.pod, decision.node);
    assumed_[client::key_of(*decision.pod->pod)] = decision.pod->pod->metadata.uid;
  }
  if (queue_.ready() > 0) changed_.notify_one();
  return !stop.stop_requested();
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
  if (bound.ok()) {
    events_.normal(client::reference_to(decision.pod->pod), "Scheduled",
                   fmt::format("Successfully assigned {} to {}", key.str(), decision.node));
    MutexLock lock(mutex_);
    queue_.placed(key);
    return;
  }
  {
    MutexLock lock(mutex_);
    auto assumed = assumed_.find(key);
    // Already seen bound or gone: the informer knows better than this answer.
    if (assumed == assumed_.end() || assumed->second != pod.metadata.uid) return;
    assumed_.erase(assumed);
    cluster_.remove_pod(key);
    if (bound.error().code() != Code::NotFound) queue_.retry_later(decision.pod);
    wake_locked(SchedulingQueue::Change::Room);
  }
  if (bound.error().code() == Code::NotFound) return;
  log::warning("scheduler", "bind {}: {}", key.str(), bound.error().message());
  set_unscheduled(pod, "SchedulerError", bound.error().message());
}

void Scheduler::report_failure(const Decision& decision) {
  const api::Pod& pod = *decision.pod->pod;
  std::string message = unschedulable_message(decision.verdicts, pod.spec.preemptionPolicy == "Never");
  events_.warning(client::reference_to(decision.pod->pod), "FailedScheduling", message);
  set_unscheduled(pod, "Unschedulable", message);
}

void Scheduler::set_unscheduled(const api::Pod& pod, const std::string& reason, const std::string& message) {
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
        return api::set_condition(next.status, std::move(condition));
      },
      true);
  if (!written.ok() && written.error().code() != Code::NotFound)
    log::warning("scheduler", "status of {}: {}", client::key_of(pod).str(), written.error().message());
}

}  // namespace skiff::scheduler
