// What the scheduler hears: pods, nodes, namespaces and volumes that come, change and go. Handlers run on the informers'
// threads and only note things down, under the lock that decisions are made under.

#include "api/pods.hpp"
#include "scheduler/scheduler.hpp"

namespace skiff::scheduler {
namespace {

using What = ClusterChange::What;

// A change by which a pod that did not fit may fit now.
bool may_help(const api::Pod& before, const api::Pod& now) {
  return !(before.spec == now.spec) || before.metadata.labels != now.metadata.labels;
}

bool same_for_scheduling(const api::Node& before, const api::Node& now) {
  return before.spec == now.spec && before.metadata.labels == now.metadata.labels &&
         before.status.allocatable == now.status.allocatable && before.status.images == now.status.images;
}

}  // namespace

const Profile* Scheduler::profile_of(const api::Pod& pod) const {
  for (const Profile& profile : profiles_)
    if (profile.name == pod.spec.schedulerName) return &profile;
  return nullptr;
}

client::EventRecorder& Scheduler::events_for(const api::Pod& pod) {
  const Profile* profile = profile_of(pod);
  return events_.at(profile ? profile->name : profiles_.front().name);
}

bool Scheduler::is_ours(const api::Pod& pod) const {
  return pod.spec.nodeName.empty() && profile_of(pod) && !pod.metadata.deletionTimestamp && !api::is_finished(pod);
}

void Scheduler::watch_pods_and_nodes(client::Informers& informers) {
  pods_.on_change([this](const client::Ref<api::Pod>& before, const client::Ref<api::Pod>& now) {
    pod_changed(before, now);
  });
  nodes_.on_change([this](const client::Ref<api::Node>& before, const client::Ref<api::Node>& now) {
    node_changed(before, now);
  });
  informers.of<api::Namespace>().on_change(
      [this](const client::Ref<api::Namespace>& before, const client::Ref<api::Namespace>& now) {
        MutexLock lock(mutex_);
        if (!now) return cluster_.remove_namespace(before->metadata.name);
        cluster_.set_namespace(now->metadata.name, now->metadata.labels);
        if (before && before->metadata.labels != now->metadata.labels) wake_locked({What::Other});
      });
}

void Scheduler::watch_volumes() {
  catalogue_.claims.on_change([this](const auto& before, const auto& now) {
    claim_changed(client::key_of(now ? *now : *before));
  });
  auto any = [this](const auto&, const auto&) {
    MutexLock lock(mutex_);
    move_waiting_locked();
    wake_locked({What::Volumes});
  };
  catalogue_.volumes.on_change(any);
  catalogue_.classes.on_change(any);
  catalogue_.csi_nodes.on_change(any);
}

void Scheduler::wake_locked(const ClusterChange& change) {
  queue_.cluster_changed(change);
  changed_.notify_one();
}

void Scheduler::claim_changed(const client::ObjectKey& key) {
  MutexLock lock(mutex_);
  client::Ref<api::PersistentVolumeClaim> claim = catalogue_.claims.get(key);
  // What was promised shows now, or is void.
  if (!claim || claim->metadata.annotations.contains(api::kBindCompleted)) promises_.claims.erase(key);
  move_waiting_locked();
  wake_locked({.what = What::Volumes, .claim = &key});
}

void Scheduler::pod_gone_locked(const api::Pod& pod) {
  client::ObjectKey key = client::key_of(pod);
  queue_.remove(key);
  nominations_.erase(key);
  waiting_.erase(key);
  assumed_.erase(key);
  std::erase_if(promises_.claims, [&](const auto& entry) { return entry.second.pod == key; });
  if (!cluster_.is_counted(key)) return;
  cluster_.remove_pod(key);
  wake_locked({What::PodGone});
}

void Scheduler::pod_placed_locked(const PodInfoRef& pod, const client::Ref<api::Pod>& before) {
  const api::Pod& now = *pod->pod;
  client::ObjectKey key = client::key_of(now);
  cluster_.set_pod(pod, now.spec.nodeName);
  assumed_.erase(key);
  nominations_.erase(key);
  queue_.remove(key);
  bool known = before && before->spec.nodeName == now.spec.nodeName;
  if (!known) return wake_locked({What::PodThere});
  if (before->metadata.labels == now.metadata.labels && !before->metadata.deletionTimestamp == !pod->terminating) return;
  wake_locked({What::PodGone});
  wake_locked({What::PodThere});
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
  if (!now->spec.nodeName.empty()) return pod_placed_locked(info, before);
  if (!is_ours(*now) || !now->spec.schedulingGates.empty()) {
    nominations_.erase(key);
    return queue_.remove(key);
  }
  if (!now->status.nominatedNodeName.empty()) nominations_[key] = {now->status.nominatedNodeName, info};
  else if (before && !before->status.nominatedNodeName.empty()) nominations_.erase(key);
  if (assumed_.contains(key)) return;  // being bound
  queue_.put(info, !before || may_help(*before, *now));
  changed_.notify_one();
}

void Scheduler::node_changed(const client::Ref<api::Node>& before, const client::Ref<api::Node>& now) {
  if (before && now && same_for_scheduling(*before, *now)) return;  // a heartbeat
  MutexLock lock(mutex_);
  if (!now) {
    cluster_.remove_node(before->metadata.name);
    return wake_locked({What::Node});  // a domain may be gone
  }
  cluster_.set_node(now);
  wake_locked({.what = What::Node, .node = cluster_.find(now->metadata.name)});
}

}  // namespace skiff::scheduler
