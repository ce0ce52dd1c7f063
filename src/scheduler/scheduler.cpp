#include "scheduler/scheduler.hpp"

#include <pthread.h>

#include <algorithm>

#include "scheduler/filters.hpp"

namespace skiff::scheduler {
namespace {

// Decisions are made one at a time; the others wait for the store to write bindings, which it does in
// batches.
constexpr int kWorkers = 8;

// Of many nodes only so many are compared as fit (numFeasibleNodesToFind): half of them less one in 125, but 100.
size_t enough_nodes(size_t nodes) {
  constexpr size_t kAll = 100;
  if (nodes <= kAll) return nodes;
  size_t per_cent = nodes / 125 >= 45 ? 5 : 50 - nodes / 125;
  return std::max(kAll, nodes * per_cent / 100);
}

}  // namespace

Result<std::vector<Profile>> parse_profiles(const std::string& text) {
  std::vector<Profile> profiles = {Profile()};
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find(',', begin), text.size());
    const std::string one = text.substr(begin, end - begin);
    begin = end + 1;
    size_t equals = std::min(one.find('='), one.size());
    const std::string name = one.substr(0, equals), packing = equals < one.size() ? one.substr(equals + 1) : "";
    if (name.empty() || (packing != "MostAllocated" && packing != "LeastAllocated"))
      return error(Code::Invalid, "scheduler profile '{}': want NAME=MostAllocated or NAME=LeastAllocated", one);
    auto known = std::find_if(profiles.begin(), profiles.end(), [&](const Profile& profile) { return profile.name == name; });
    Profile& profile = known != profiles.end() ? *known : profiles.emplace_back();
    profile = {name, packing == "MostAllocated" ? Packing::MostAllocated : Packing::LeastAllocated};
  }
  return profiles;
}

Scheduler::Scheduler(const Uses& uses, std::vector<Profile> profiles)
    : client_(uses.client),
      clock_(uses.clock),
      random_(uses.random),
      profiles_(std::move(profiles)),
      pods_(uses.informers.of<api::Pod>()),
      nodes_(uses.informers.of<api::Node>()),
      namespaces_(uses.informers.of<api::Namespace>()),
      budgets_(uses.informers.of<api::PodDisruptionBudget>()),
      catalogue_(uses.informers),
      queue_(uses.clock) {
  for (const Profile& profile : profiles_)
    events_.try_emplace(profile.name, uses.client, uses.clock, uses.random, profile.name);
  watch_pods_and_nodes(uses.informers);
  watch_volumes();
}

bool Scheduler::start(std::stop_token stop) {
  bool synced = pods_.wait_synced(stop) && nodes_.wait_synced(stop) && namespaces_.wait_synced(stop) &&
                budgets_.wait_synced(stop) && catalogue_.claims.wait_synced(stop) &&
                catalogue_.volumes.wait_synced(stop) && catalogue_.classes.wait_synced(stop) &&
                catalogue_.csi_nodes.wait_synced(stop);
  if (!synced) return false;
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

Refusal Scheduler::explain(const api::Pod& pod) const {
  PodInfo info(std::make_shared<api::Pod>(pod));
  MutexLock lock(mutex_);
  const PodVolumes volumes = catalogue_.volumes_of(info, promises_, cluster_);
  return {.verdicts = filter_nodes(info, cluster_, volumes),
          .whole_pod = volumes.refusal,
          .ineligible = ineligible_locked(info)};
}

void Scheduler::run(std::stop_token stop) {
  for (Decision decision; next(stop, decision); decision = {}) carry_out(decision);
}

bool Scheduler::next(std::stop_token stop, Decision& decision) {
  MutexLock lock(mutex_);
  for (;;) {
    if (stop.stop_requested()) return false;
    if (!resumed_.empty()) {
      decision = std::move(resumed_.front());
      resumed_.pop_front();
      break;
    }
    if ((decision.pod = queue_.take())) {
      decide_locked(decision);
      break;
    }
    TimePoint due = queue_.next_due().value_or(TimePoint::max());
    for (const auto& [key, waiting] : waiting_) due = std::min(due, waiting.patience);
    clock_.wait(mutex_, changed_, stop, due);
    move_waiting_locked();
  }
  if (queue_.ready() > 0 || !resumed_.empty()) changed_.notify_one();
  return true;
}

void Scheduler::decide_locked(Decision& decision) {
  const PodInfo& pod = *decision.pod;
  const PodVolumes volumes = catalogue_.volumes_of(pod, promises_, cluster_);
  const Filtering filtering(pod, cluster_, volumes);
  decision.refusal.whole_pod = volumes.refusal;
  NodeStates fitting = feasible_locked(pod, filtering, decision.refusal.verdicts);
  if (fitting.empty()) return refuse_locked(decision, volumes);
  const Profile* profile = profile_of(*pod.pod);
  NodeStates best = best_nodes(pod, cluster_, filtering.topology(), fitting,
                               profile ? profile->packing : Packing::LeastAllocated);
  place_locked(decision, *best[best.size() == 1 ? 0 : random_.below(best.size())], volumes);
}

// All that fit, or enough to choose from; every search begins where the last one ended. The node that was nominated
// for the pod is taken when it fits.
NodeStates Scheduler::feasible_locked(const PodInfo& pod, const Filtering& filtering,
                                      std::vector<NodeVerdict>& verdicts) {
  auto nomination = nominations_.find(client::key_of(*pod.pod));
  if (nomination != nominations_.end())
    if (const NodeState* node = cluster_.find(nomination->second.node))
      if (check_locked(pod, filtering, *node).reasons.empty()) return {node};
  const auto& nodes = cluster_.nodes();
  const size_t enough = enough_nodes(nodes.size());
  NodeStates fitting;
  verdicts.reserve(nodes.size());
  size_t asked = 0;
  for (; asked < nodes.size() && fitting.size() < enough; ++asked) {
    const NodeState* node = nodes[(first_node_ + asked) % nodes.size()];
    NodeVerdict verdict = check_locked(pod, filtering, *node);
    if (verdict.reasons.empty()) fitting.push_back(node);
    else if (fitting.empty()) verdicts.push_back(std::move(verdict));
  }
  if (!nodes.empty()) first_node_ = nodes.size() > enough ? (first_node_ + asked) % nodes.size() : 0;
  return fitting;
}

// Pods that were promised room on a node count as if they were there, unless this one is more important.
std::vector<PodInfoRef> Scheduler::nominated_before_locked(const PodInfo& pod, const std::string& node) const {
  std::vector<PodInfoRef> others;
  for (const auto& [key, nomination] : nominations_)
    if (nomination.node == node && nomination.pod->priority >= pod.priority && key != client::key_of(*pod.pod) &&
        !cluster_.is_counted(key))
      others.push_back(nomination.pod);
  return others;
}

NodeVerdict Scheduler::check_locked(const PodInfo& pod, const Filtering& filtering, const NodeState& node) const {
  NodeVerdict verdict = filtering.check(node);
  if (!verdict.reasons.empty() || nominations_.empty()) return verdict;
  std::vector<PodInfoRef> others = nominated_before_locked(pod, verdict.node);
  if (!others.empty()) refuses_beside(pod, node, others, verdict);
  return verdict;
}

void Scheduler::place_locked(Decision& decision, const NodeState& node, const PodVolumes& volumes) {
  client::ObjectKey key = client::key_of(*decision.pod->pod);
  decision.node = node.node->metadata.name;
  decision.volumes = volumes.plan(*node.node);
  for (const VolumePlan::Binding& one : decision.volumes.bindings)
    promises_.claims[client::key_of(*one.claim)] = {decision.node, one.volume ? one.volume->metadata.name : "", key};
  cluster_.set_pod(decision.pod, decision.node);
  assumed_[key] = decision.pod->pod->metadata.uid;
}

std::string Scheduler::ineligible_locked(const PodInfo& pod) const {
  if (pod.pod->spec.preemptionPolicy == "Never") return kNeverPreempts;
  auto nomination = nominations_.find(client::key_of(*pod.pod));
  const NodeState* node = nomination == nominations_.end() ? nullptr : cluster_.find(nomination->second.node);
  if (!node) return "";
  bool leaving = std::any_of(node->pods.begin(), node->pods.end(), [&](const auto& entry) {
    return entry.second->terminating && entry.second->priority < pod.priority;
  });
  return leaving ? "not eligible due to a terminating pod on the nominated node." : "";
}

// Under the same lock as the decision, so that no change of the cluster falls in between.
void Scheduler::refuse_locked(Decision& decision, const PodVolumes& volumes) {
  Refusal& refusal = decision.refusal;
  std::set<std::string> filters;
  for (const NodeVerdict& verdict : refusal.verdicts) filters.insert(verdict.filter);
  refusal.ineligible = ineligible_locked(*decision.pod);
  if (refusal.ineligible.empty() && volumes.refusal.empty())
    decision.victims = find_victims({*decision.pod, cluster_, volumes, budgets_.list()}, refusal.verdicts);
  if (decision.victims) {
    refusal.preempts = true;
    nominations_[client::key_of(*decision.pod->pod)] = {decision.victims->node, decision.pod};
    filters.insert("DefaultPreemption");
  }
  queue_.failed(decision.pod, std::move(filters));
}

}  // namespace skiff::scheduler
