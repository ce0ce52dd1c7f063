#include "kubelet/pod_plan.hpp"

#include <algorithm>

#include "api/pods.hpp"
#include "kubelet/fields.hpp"

namespace skiff::kubelet {
namespace {

enum class Seen { Never, Running, Succeeded, Failed };

Seen look(const PodState& state, const api::Container& container) {
  const ContainerRecord* record = find_record(state, container.name);
  if (record == nullptr || !record->current) return Seen::Never;
  if (record->current->running()) return Seen::Running;
  if (record->renew) return Seen::Never;
  return record->current->container.exit_code == 0 ? Seen::Succeeded : Seen::Failed;
}

bool has_started(const PodState& state, const api::Container& container) {
  const ContainerRecord* record = find_record(state, container.name);
  return record != nullptr && record->running() && record->started;
}

/// Walks the init containers in order; true when the next one (or the first regular container) may start.
bool plan_init(const api::Pod& pod, const PodState& state, bool main_has_run, PodPlan& plan) {
  for (const api::Container& container : pod.spec.initContainers) {
    Seen seen = look(state, container);
    if (api::is_sidecar(container)) {
      if (seen != Seen::Running) plan.start.push_back(&container);
      // The next one waits until this one is up, unless everything was up before.
      if (!main_has_run && !has_started(state, container)) return false;
      continue;
    }
    if (main_has_run || seen == Seen::Succeeded) continue;
    bool again = seen == Seen::Never || (seen == Seen::Failed && pod.spec.restartPolicy != "Never");
    if (again) plan.start.push_back(&container);
    if (!again && seen == Seen::Failed) plan.finished = true;
    return false;
  }
  return true;
}

}  // namespace

const ContainerRecord* find_record(const PodState& state, const std::string& name) {
  auto found = state.containers.find(name);
  return found == state.containers.end() ? nullptr : &found->second;
}

void note_ephemeral(const api::Pod& pod, PodState& state) {
  for (const api::EphemeralContainer& container : pod.spec.ephemeralContainers)
    if (!state.ephemeral.contains(container.name)) state.ephemeral[container.name] = as_container(container);
}

const api::Container* container_of(const api::Pod& pod, const PodState& state, const std::string& name) {
  if (const api::Container* container = find_container(pod, name)) return container;
  auto ephemeral = state.ephemeral.find(name);
  return ephemeral == state.ephemeral.end() ? nullptr : &ephemeral->second;
}

const api::ContainerRestartRule* rule_for(const api::Container& container, int exit_code) {
  for (const api::ContainerRestartRule& rule : container.restartPolicyRules) {
    if (!rule.exitCodes) continue;
    bool listed = std::ranges::find(rule.exitCodes->values, exit_code) != rule.exitCodes->values.end();
    if (listed == (rule.exitCodes->operator_ == "In")) return &rule;
  }
  return nullptr;
}

bool restarts(const api::Pod& pod, const api::Container& container, int exit_code) {
  if (rule_for(container, exit_code) != nullptr) return true;
  const std::string& policy =
      container.restartPolicy.empty() ? pod.spec.restartPolicy : container.restartPolicy;
  return policy == "Always" || (policy == "OnFailure" && exit_code != 0);
}

namespace {

/// Whether an ended container runs again: by its rules, its policy, or because it was stopped for that.
bool comes_back(const api::Pod& pod, const PodState& state, const api::Container& container) {
  const ContainerRecord& record = *find_record(state, container.name);
  return record.restart_wanted || restarts(pod, container, record.current->container.exit_code);
}

}  // namespace

PodPlan plan_pod(const api::Pod& pod, const PodState& state) {
  PodPlan plan;
  bool main_has_run = std::ranges::any_of(pod.spec.containers, [&](const api::Container& container) {
    return look(state, container) != Seen::Never;
  });
  // Once all main containers are done for good, sidecars are not brought back.
  bool main_done = std::ranges::all_of(pod.spec.containers, [&](const api::Container& container) {
    Seen seen = look(state, container);
    if (seen == Seen::Never || seen == Seen::Running) return false;
    return !comes_back(pod, state, container);
  });
  if (main_done) {
    plan.initialized = true;
    plan.finished = true;
    for (const api::Container& container : pod.spec.initContainers) {
      if (look(state, container) != Seen::Running) continue;
      plan.stop.push_back(&container);
      plan.finished = false;
    }
    return plan;
  }
  // For looking into a pod, whatever state it is in; they run once.
  for (const auto& [name, container] : state.ephemeral)
    if (look(state, container) == Seen::Never) plan.start.push_back(&container);
  plan.initialized = plan_init(pod, state, main_has_run, plan);
  if (!plan.initialized) return plan;
  for (const api::Container& container : pod.spec.containers) {
    Seen seen = look(state, container);
    if (seen == Seen::Running) continue;
    if (seen == Seen::Never || comes_back(pod, state, container)) plan.start.push_back(&container);
  }
  return plan;
}

}  // namespace skiff::kubelet
