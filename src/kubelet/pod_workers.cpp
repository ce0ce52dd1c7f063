#include "kubelet/pod_workers.hpp"

#include <algorithm>

#include "api/pods.hpp"
#include "base/log.hpp"
#include "kubelet/adopt.hpp"
#include "kubelet/claims.hpp"
#include "kubelet/container_spec.hpp"
#include "kubelet/pod_status.hpp"
#include "kubelet/static_pods.hpp"

namespace skiff::kubelet {

WorkerState observe(WorkerState state, const PodUpdate& update) {
  const api::ObjectMeta& metadata = update.pod.metadata;
  bool stop = update.gone || update.finished || metadata.deletionTimestamp || api::is_finished(update.pod);
  if (state.phase == Phase::Syncing && stop) state.phase = Phase::Terminating;
  if (state.phase == Phase::Terminating) {
    Duration wanted = std::chrono::seconds(metadata.deletionGracePeriodSeconds.value_or(
        update.gone && static_hash(update.pod).empty() ? 1 : update.pod.spec.terminationGracePeriodSeconds.value_or(30)));
    wanted = std::max<Duration>(wanted, 1s);
    state.grace = std::min(state.grace.value_or(wanted), wanted);
  }
  return state;
}

void PodWorkers::start(PodRuntime& runtime, int threads) {
  runtime_ = &runtime;
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this](std::stop_token stop) { run(stop); });
}

void PodWorkers::stop() {
  for (std::jthread& thread : threads_) thread.request_stop();
  threads_.clear();
  std::map<std::string, std::unique_ptr<Worker>> ended;
  {
    MutexLock lock(mutex_);
    ended.swap(workers_);
  }
  // Outside the lock: hook tasks are canceled and joined here, and they may still wake a pod.
}

namespace {

PodSnapshot snapshot_of(const client::Ref<api::Pod>& pod, const PodState& state) {
  PodSnapshot snapshot{.pod = pod, .containers = {}, .ips = state.ips, .has_sandbox = !state.sandbox.empty()};
  for (const auto& [name, record] : state.containers)
    if (record.current) {
      const runtime::ContainerStatus& run = record.current->container;
      snapshot.containers[name] = {run.id,     record.current->attempt, record.running(), true, run.started_at,
                                   run.cgroup, run.directory,           run.log_path};
    }
  return snapshot;
}

}  // namespace

void PodWorkers::adopt_pod(client::Ref<api::Pod> pod, PodState state, bool gone) {
  auto worker = std::make_unique<Worker>();
  std::string uid = pod->metadata.uid;
  // Running containers can be exec'd into from now on, before their worker's first step.
  worker->snapshot = snapshot_of(pod, state);
  worker->pod = std::move(pod);
  worker->pods = std::move(state);
  worker->gone = gone;
  MutexLock lock(mutex_);
  workers_[uid] = std::move(worker);
  queue_.add({"", uid});
}

void PodWorkers::update(const client::Ref<api::Pod>& pod) {
  const std::string& uid = pod->metadata.uid;
  MutexLock lock(mutex_);
  auto& worker = workers_[uid];
  if (!worker) {
    worker = std::make_unique<Worker>();
    // Known to no runtime: what its status says of earlier runs still counts.
    worker->pods = adopt(*pod, {}, clock_.wall_now());
  }
  worker->pod = pod;
  queue_.add({"", uid});
}

void PodWorkers::removed(const std::string& uid) {
  MutexLock lock(mutex_);
  auto found = workers_.find(uid);
  if (found == workers_.end()) return;
  found->second->gone = true;
  queue_.add({"", uid});
}

void PodWorkers::exited(const runtime::ContainerStatus& container) {
  auto uid = container.labels.find(kPodUid);
  if (uid == container.labels.end()) return;
  MutexLock lock(mutex_);
  auto found = workers_.find(uid->second);
  if (found == workers_.end()) return;
  found->second->exits.push_back(container);
  queue_.add({"", uid->second});
}

void PodWorkers::probed(const ProbeNews& news) {
  MutexLock lock(mutex_);
  auto found = workers_.find(news.pod_uid);
  if (found == workers_.end()) return;
  found->second->probes.push_back(news);
  queue_.add({"", news.pod_uid});
}

void PodWorkers::wake(const std::string& uid) { queue_.add({"", uid}); }

void PodWorkers::evict(const std::string& uid, const std::string& message) {
  MutexLock lock(mutex_);
  auto found = workers_.find(uid);
  if (found == workers_.end()) return;
  found->second->eviction = message;
  queue_.add({"", uid});
}

void PodWorkers::config_changed(bool secret, const client::ObjectKey& key) {
  MutexLock lock(mutex_);
  for (const auto& [uid, worker] : workers_)
    if (worker->pod->metadata.namespace_ == key.namespace_ && refers_to(*worker->pod, secret, key.name))
      queue_.add({"", uid});
}

void PodWorkers::claim_changed(const client::ObjectKey& key) {
  MutexLock lock(mutex_);
  for (const auto& [uid, worker] : workers_)
    if (uses_claim(*worker->pod, key)) queue_.add({"", uid});
}

std::optional<PodSnapshot> PodWorkers::snapshot(const client::ObjectKey& pod) const {
  MutexLock lock(mutex_);
  for (const auto& [uid, worker] : workers_) {
    if (client::key_of(*worker->pod) != pod || worker->gone) continue;
    PodSnapshot copy = worker->snapshot;
    copy.pod = worker->pod;
    return copy;
  }
  return std::nullopt;
}

std::vector<PodSnapshot> PodWorkers::snapshots() const {
  std::vector<PodSnapshot> all;
  MutexLock lock(mutex_);
  for (const auto& [uid, worker] : workers_) {
    if (worker->gone || !worker->snapshot.pod) continue;
    all.push_back(worker->snapshot);
    all.back().pod = worker->pod;
  }
  return all;
}

PodWorkers::Worker* PodWorkers::take(const std::string& uid, Step& step) {
  MutexLock lock(mutex_);
  auto found = workers_.find(uid);
  if (found == workers_.end()) return nullptr;
  Worker& worker = *found->second;
  step = {worker.pod, worker.gone, std::move(worker.exits), std::move(worker.probes), worker.eviction};
  worker.exits.clear();
  worker.probes.clear();
  return &worker;
}

void PodWorkers::publish(Worker& worker, const Step& step) {
  PodSnapshot snapshot = snapshot_of(step.pod, worker.pods);
  MutexLock lock(mutex_);
  worker.snapshot = std::move(snapshot);
}

/// The API shows a static pod as it is now: a mirror that was deleted is made again, one of an older file replaced.
Status PodWorkers::keep_mirror(const api::Pod& pod) {
  Result<client::Ref<api::Pod>> mirror = client_.get<api::Pod>(client::key_of(pod));
  if (!mirror.ok() && mirror.error().code() != Code::NotFound) return std::move(mirror).error();
  bool good = mirror.ok() && mirrored_hash(*mirror.value()) == static_hash(pod) &&
              !mirror.value()->metadata.deletionTimestamp;
  if (good) return ok();
  TRY(remove_mirror(pod));
  TRY_ASSIGN(client::Ref<api::Node> node, client_.get<api::Node>({"", pod.spec.nodeName}));
  TRY(client_.create(mirror_of(pod, node->metadata.uid)));
  return ok();
}

Status PodWorkers::remove_mirror(const api::Pod& pod) {
  client::DeleteOptions options;
  options.grace_seconds = 0;
  Result<client::AnyRef> removed = client_.remove<api::Pod>(client::key_of(pod), options);
  if (!removed.ok() && removed.error().code() != Code::NotFound) return std::move(removed).error();
  return ok();
}

Status PodWorkers::write_status(Worker& worker, const api::Pod& pod) {
  std::string hash = static_hash(pod);
  if (!hash.empty()) TRY(keep_mirror(pod));
  auto make = [&](const api::Pod& base) {
    return make_status({base, worker.pods, runtime_->facts().ips, api::Time::from(clock_.wall_now()),
                        worker.state.phase != Phase::Syncing && worker.finished});
  };
  if (make(pod) == pod.status) return ok();
  Result<client::Ref<api::Pod>> written = client_.update_with_retry<api::Pod>(
      client::key_of(pod),
      [&](api::Pod& latest) {
        bool same = latest.metadata.uid == pod.metadata.uid || (!hash.empty() && mirrored_hash(latest) == hash);
        if (!same) return false;
        api::PodStatus next = make(latest);
        if (next == latest.status) return false;
        latest.status = std::move(next);
        return true;
      },
      true);
  if (!written.ok() && written.error().code() != Code::NotFound) return std::move(written).error();
  runtime_->reached("status");
  return ok();
}

/// All containers have ended: the last status, the undo of the hooks, and for a deleted pod the end of its
/// object.
Status PodWorkers::finish(Worker& worker, const Step& step) {
  const api::Pod& pod = *step.pod;
  worker.finished = true;
  if (!step.gone) TRY(write_status(worker, pod));
  runtime_->reached("ended");
  TRY(runtime_->clean_up(pod, worker.pods));
  worker.state.phase = Phase::Terminated;
  if (!step.gone) TRY(write_status(worker, pod));
  if (step.gone || pod.metadata.deletionTimestamp) TRY(runtime_->remove_logs(pod.metadata.uid));
  runtime_->reached("logs-removed");
  // Only its own: a changed file's new pod has the same name.
  std::string hash = static_hash(pod);
  if (step.gone && !hash.empty()) {
    Result<client::Ref<api::Pod>> mirror = client_.get<api::Pod>(client::key_of(pod));
    if (mirror.ok() && mirrored_hash(*mirror.value()) == hash) TRY(remove_mirror(pod));
  }
  if (step.gone || !pod.metadata.deletionTimestamp || worker.deleted) return ok();
  client::DeleteOptions options;
  options.grace_seconds = 0;
  options.uid = pod.metadata.uid;
  Result<client::AnyRef> removed = client_.remove<api::Pod>(client::key_of(pod), options);
  if (!removed.ok() && removed.error().code() != Code::NotFound && removed.error().code() != Code::Conflict)
    return std::move(removed).error();
  runtime_->reached("deleted");
  worker.deleted = true;
  return ok();
}

Status PodWorkers::act(Worker& worker, const Step& step, Alarm& alarm) {
  const api::Pod& pod = *step.pod;
  if (worker.state.phase == Phase::Syncing) {
    Result<PodRuntime::Progress> progress = runtime_->sync(pod, worker.pods, alarm);
    publish(worker, step);
    if (progress.ok() && progress.value().finished) {
      worker.state = observe(worker.state, {pod, step.gone, true});
    } else {
      TRY(write_status(worker, pod));
      if (!progress.ok()) return std::move(progress).error();
      return ok();
    }
  }
  if (worker.state.phase == Phase::Terminating) {
    Duration grace = std::min(*worker.state.grace, worker.pods.stop_grace.value_or(*worker.state.grace));
    TRY_ASSIGN(bool stopped, runtime_->stop(pod, worker.pods, grace, alarm));
    publish(worker, step);
    if (!stopped) return step.gone ? ok() : write_status(worker, pod);
  }
  return finish(worker, step);
}

Result<Alarm> PodWorkers::step(const std::string& uid) {
  Step step;
  Worker* worker = take(uid, step);
  Alarm alarm;
  if (worker == nullptr) return alarm;
  note_ephemeral(*step.pod, worker->pods);
  for (const runtime::ContainerStatus& container : step.exits)
    runtime_->container_exited(*step.pod, worker->pods, container);
  for (const ProbeNews& news : step.probes) runtime_->probed(*step.pod, worker->pods, news);
  if (!step.eviction.empty()) runtime_->evict(*step.pod, worker->pods, step.eviction);
  worker->state = observe(worker->state, {*step.pod, step.gone, false});
  TRY(act(*worker, step, alarm));
  publish(*worker, step);
  if (worker->state.phase == Phase::Terminated && step.gone) {
    MutexLock lock(mutex_);
    workers_.erase(uid);
  }
  return alarm;
}

void PodWorkers::run(std::stop_token stop) {
  while (std::optional<client::ObjectKey> key = queue_.take(stop)) {
    Result<Alarm> alarm = step(key->name);
    if (!alarm.ok()) {
      log::warning("kubelet", "pod {}: {}", key->name, alarm.error().message());
      queue_.retry(*key);
    } else {
      queue_.forget(*key);
      TimePoint due = alarm.value().due();
      if (due != TimePoint::max()) queue_.add_after(*key, std::max<Duration>(due - clock_.now(), 0ns));
    }
    queue_.done(*key);
  }
}

}  // namespace skiff::kubelet
