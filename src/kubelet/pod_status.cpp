#include "kubelet/pod_status.hpp"

#include <algorithm>
#include <tuple>

#include "api/pods.hpp"
#include "base/encoding.hpp"
#include "kubelet/fields.hpp"
#include "kubelet/pod_plan.hpp"

namespace skiff::kubelet {
namespace {

api::ContainerState terminated_state(const Run& run) {
  const runtime::ContainerStatus& container = run.container;
  api::ContainerStateTerminated ended;
  ended.exitCode = container.exit_code;
  ended.reason = !run.reason.empty()        ? run.reason
                 : container.oom_killed     ? "OOMKilled"
                 : container.exit_code == 0 ? "Completed"
                                            : "Error";
  ended.message = run.message;
  ended.startedAt = api::Time::from(container.started_at);
  ended.finishedAt = api::Time::from(container.finished_at);
  ended.containerID = "skiff://" + container.id;
  api::ContainerState state;
  state.terminated = std::move(ended);
  return state;
}

api::ContainerState run_state(const Run& run) {
  if (!run.running()) return terminated_state(run);
  api::ContainerState state;
  state.running.emplace().startedAt = api::Time::from(run.container.started_at);
  return state;
}

api::ContainerState waiting_state(std::string reason, std::string message) {
  api::ContainerState state;
  state.waiting = api::ContainerStateWaiting{std::move(reason), std::move(message)};
  return state;
}

std::vector<api::VolumeMountStatus> mounts_of(const api::Container& container, const PodState& state) {
  std::vector<api::VolumeMountStatus> mounts;
  for (const api::VolumeMount& mount : container.volumeMounts) {
    api::VolumeMountStatus status;
    status.name = mount.name;
    status.mountPath = mount.mountPath;
    status.readOnly = mount.readOnly;
    if (mount.readOnly)
      status.recursiveReadOnly =
          mount.recursiveReadOnly == "Enabled" || mount.recursiveReadOnly == "IfPossible" ? "Enabled" : "Disabled";
    if (auto image = state.volume_images.find(mount.name); image != state.volume_images.end())
      status.volumeStatus.emplace().image.emplace().imageRef = image->second;
    mounts.push_back(std::move(status));
  }
  return mounts;
}

/// A container's old status, for what only it still knows after a restart of skiff.
const api::ContainerStatus* old_status(const std::vector<api::ContainerStatus>& statuses,
                                       const std::string& name) {
  auto found = std::ranges::find(statuses, name, &api::ContainerStatus::name);
  return found == statuses.end() ? nullptr : &*found;
}

struct Waiting {
  std::string reason;  // of a container that was never started and about which nothing else is known
  const std::vector<api::ContainerStatus>& old;
  bool terminated;
};

void fill_runs(const ContainerRecord& record, const Waiting& waiting, api::ContainerStatus& status) {
  const Run& run = *record.current;
  bool held_back = !run.running() && !record.waiting_reason.empty() && !waiting.terminated;
  status.state = held_back ? waiting_state(record.waiting_reason, record.waiting_message) : run_state(run);
  if (held_back)
    status.lastState = terminated_state(run);
  else if (record.previous)
    status.lastState = terminated_state(*record.previous);
  status.restartCount = run.attempt;
  status.containerID = "skiff://" + run.container.id;
  status.image = run.image;
  status.imageID = run.image_id;
  if (const auto& identity = run.container.identity; identity && run.running()) {
    api::LinuxContainerUser& user = status.user.emplace().linux.emplace();
    user.uid = identity->uid;
    user.gid = identity->gid;
    user.supplementalGroups = identity->groups;
  }
}

api::ContainerStatus container_status(const api::Container& container, const PodState& state,
                                      const Waiting& waiting) {
  api::ContainerStatus status;
  status.name = container.name;
  status.image = container.image;
  const ContainerRecord* record = find_record(state, container.name);
  const api::ContainerStatus* old = old_status(waiting.old, container.name);
  if (record != nullptr && record->current) {
    fill_runs(*record, waiting, status);
  } else if (old != nullptr && old->state.terminated) {
    status = *old;  // ended and cleared away before skiff was restarted
  } else if (record != nullptr && !record->waiting_reason.empty()) {
    status.state = waiting_state(record->waiting_reason, record->waiting_message);
  } else {
    status.state = waiting_state(waiting.reason, "");
  }
  bool running = record != nullptr && record->running();
  status.started = running && record->started;
  status.ready = running && record->ready;
  status.volumeMounts = mounts_of(container, state);
  if (running) {
    status.resources = record->resources.value_or(container.resources);
    status.allocatedResources = state.resize_pending ? status.resources->requests : container.resources.requests;
  }
  return status;
}

/// Init containers are ready once they have succeeded; sidecars as main containers are.
void finish_init_status(const api::Container& container, api::ContainerStatus& status) {
  if (api::is_sidecar(container)) return;
  status.ready = status.state.terminated && status.state.terminated->exitCode == 0;
  status.started = status.state.running ? true : false;
}

std::string join_names(const std::vector<std::string>& names) { return "[" + join(names, " ") + "]"; }

void set_condition(api::PodStatus& status, const StatusInput& input, std::string_view type, bool value,
                   std::string reason, std::string message) {
  api::PodCondition condition;
  if (const api::PodCondition* old = api::find_condition(input.pod.status, type)) condition = *old;
  std::string text = value ? "True" : "False";
  if (condition.status != text || !condition.lastTransitionTime) condition.lastTransitionTime = input.now;
  condition.type = type;
  condition.status = std::move(text);
  condition.reason = std::move(reason);
  condition.message = std::move(message);
  condition.observedGeneration = input.pod.metadata.generation;
  status.conditions.push_back(std::move(condition));
}

std::vector<std::string> unready_names(const std::vector<api::ContainerStatus>& statuses) {
  std::vector<std::string> names;
  for (const api::ContainerStatus& status : statuses)
    if (!status.ready) names.push_back(status.name);
  return names;
}

/// Reason and message of ContainersReady; empty reason: they are.
std::pair<std::string, std::string> containers_problem(const api::Pod& pod, const api::PodStatus& status) {
  if (status.phase == "Succeeded") return {"PodCompleted", ""};
  if (status.phase == "Failed") return {"PodFailed", ""};
  std::vector<std::string> unready = unready_names(status.containerStatuses);
  for (size_t i = 0; i < pod.spec.initContainers.size(); ++i)
    if (api::is_sidecar(pod.spec.initContainers[i]) && !status.initContainerStatuses[i].ready)
      unready.insert(unready.begin(), status.initContainerStatuses[i].name);
  if (unready.empty()) return {"", ""};
  return {"ContainersNotReady", "containers with unready status: " + join_names(unready)};
}

/// Readiness gates that are not True, as the condition's message; empty: none.
std::string gates_problem(const api::Pod& pod) {
  std::vector<std::string> messages;
  for (const api::PodReadinessGate& gate : pod.spec.readinessGates) {
    const api::PodCondition* condition = api::find_condition(pod.status, gate.conditionType);
    if (condition == nullptr)
      messages.push_back(fmt::format("corresponding condition of pod readiness gate \"{}\" does not exist.",
                                     gate.conditionType));
    else if (condition->status != "True")
      messages.push_back(fmt::format("the status of pod readiness gate \"{}\" is not \"True\", but {}",
                                     gate.conditionType, condition->status));
  }
  return join(messages, ", ");
}

std::pair<bool, std::pair<std::string, std::string>> initialized(const api::Pod& pod,
                                                                 const api::PodStatus& status,
                                                                 bool main_has_run) {
  if (status.phase == "Succeeded") return {true, {"PodCompleted", ""}};
  if (main_has_run) return {true, {"", ""}};
  std::vector<std::string> incomplete;
  for (size_t i = 0; i < pod.spec.initContainers.size(); ++i) {
    const api::ContainerStatus& init = status.initContainerStatuses[i];
    bool done = api::is_sidecar(pod.spec.initContainers[i]) ? init.started.value_or(false) : init.ready;
    if (!done) incomplete.push_back(init.name);
  }
  if (incomplete.empty()) return {true, {"", ""}};
  return {false,
          {"ContainersNotInitialized", "containers with incomplete status: " + join_names(incomplete)}};
}

bool kubelet_owns(std::string_view type) {
  return type == "PodResizePending" || type == "PodResizeInProgress" || type == "AllContainersRestarting" || type == "PodReadyToStartContainers" || type == "Initialized" || type == "Ready" ||
         type == "ContainersReady" || type == "PodScheduled";
}

void make_conditions(const StatusInput& input, bool main_has_run, api::PodStatus& status) {
  const api::Pod& pod = input.pod;
  set_condition(status, input, "PodReadyToStartContainers",
                !input.state.sandbox.empty() && !input.state.ips.empty(), "", "");
  auto [init_done, init_why] = initialized(pod, status, main_has_run);
  set_condition(status, input, "Initialized", init_done, init_why.first, init_why.second);
  auto [reason, message] = containers_problem(pod, status);
  std::string gates = gates_problem(pod);
  bool gates_only = reason.empty() && !gates.empty();
  set_condition(status, input, "Ready", reason.empty() && gates.empty(),
                gates_only ? "ReadinessGatesNotReady" : reason, gates_only ? gates : message);
  set_condition(status, input, "ContainersReady", reason.empty(), reason, message);
  set_condition(status, input, "PodScheduled", true, "", "");
  const auto& [pending, stuck] = std::tie(input.state.resize_pending, input.state.resize_stuck);
  if (pending) set_condition(status, input, "PodResizePending", true, pending->reason, pending->message);
  if (stuck) set_condition(status, input, "PodResizeInProgress", true, stuck->reason, stuck->message);
  if (input.state.restart_all) set_condition(status, input, "AllContainersRestarting", true, "", "");
  bool evicted = input.state.failed_reason == "Evicted";
  if (evicted)
    set_condition(status, input, "DisruptionTarget", true, "TerminationByKubelet", input.state.failed_message);
  for (const api::PodCondition& other : pod.status.conditions)
    if (!(evicted && other.type == "DisruptionTarget") && !kubelet_owns(other.type)) status.conditions.push_back(other);
}

bool any_running(const PodState& state) {
  return std::ranges::any_of(state.containers, [](const auto& entry) { return entry.second.running(); });
}

/// An ended container that a rule brings back, whatever the pod's policy says.
bool any_comes_back(const api::Pod& pod, const PodState& state) {
  return state.restart_all || std::ranges::any_of(pod.spec.containers, [&](const api::Container& container) {
           const ContainerRecord* record = find_record(state, container.name);
           return record != nullptr && record->current && !record->running() &&
                  (record->renew || restarts(pod, container, record->current->container.exit_code));
         });
}

struct InitCount {
  int pending = 0, failed = 0;
};

InitCount count_init(const api::Pod& pod, const api::PodStatus& status) {
  InitCount count;
  for (size_t i = 0; i < pod.spec.initContainers.size(); ++i) {
    const api::ContainerStatus& init = status.initContainerStatuses[i];
    if (api::is_sidecar(pod.spec.initContainers[i])) {
      if (!init.started.value_or(false) && !init.state.terminated) ++count.pending;
      continue;
    }
    const api::ContainerStateTerminated* ended =
        init.state.terminated ? init.state.terminated.get()
                              : (init.state.waiting ? init.lastState.terminated.get() : nullptr);
    if (ended != nullptr && ended->exitCode != 0) ++count.failed;
    if (!init.state.terminated) ++count.pending;
  }
  return count;
}

}  // namespace

std::string phase_of(const api::Pod& pod, const api::PodStatus& status, bool terminated) {
  InitCount init = count_init(pod, status);
  int waiting = 0, running = 0, stopped = 0, succeeded = 0;
  for (const api::ContainerStatus& container : status.containerStatuses) {
    const api::ContainerStateTerminated* ended =
        container.state.terminated
            ? container.state.terminated.get()
            : (container.state.waiting ? container.lastState.terminated.get() : nullptr);
    if (container.state.running)
      ++running;
    else if (ended == nullptr)
      ++waiting;
    else
      ++stopped, succeeded += ended->exitCode == 0 ? 1 : 0;
  }
  bool main_has_run = running + stopped > 0;
  if (init.failed > 0 && (pod.spec.restartPolicy == "Never" || terminated)) return "Failed";
  if (init.pending > 0 && !main_has_run) return terminated ? "Failed" : "Pending";
  if (waiting > 0) return terminated ? "Failed" : "Pending";
  if (running > 0) return "Running";
  if (terminated) return stopped == succeeded ? "Succeeded" : "Failed";
  if (pod.spec.restartPolicy == "Always") return "Running";
  if (stopped == succeeded) return "Succeeded";
  return pod.spec.restartPolicy == "Never" ? "Failed" : "Running";
}

api::PodStatus make_status(const StatusInput& input) {
  const api::Pod& pod = input.pod;
  api::PodStatus status = pod.status;
  status.conditions.clear();
  status.initContainerStatuses.clear();
  status.containerStatuses.clear();
  status.observedGeneration = pod.metadata.generation;
  Waiting waiting{pod.spec.initContainers.empty() ? "ContainerCreating" : "PodInitializing",
                  pod.status.initContainerStatuses, input.terminated};
  for (const api::Container& container : pod.spec.initContainers) {
    status.initContainerStatuses.push_back(container_status(container, input.state, waiting));
    finish_init_status(container, status.initContainerStatuses.back());
  }
  Waiting ephemeral_waiting{"ContainerCreating", pod.status.ephemeralContainerStatuses, input.terminated};
  status.ephemeralContainerStatuses.clear();
  for (const api::EphemeralContainer& from : pod.spec.ephemeralContainers) {
    api::ContainerStatus one = container_status(as_container(from), input.state, ephemeral_waiting);
    one.ready = false;
    one.started.reset();
    one.resources.reset();
    one.allocatedResources.clear();
    status.ephemeralContainerStatuses.push_back(std::move(one));
  }
  Waiting main_waiting{waiting.reason, pod.status.containerStatuses, input.terminated};
  bool main_has_run = false;
  for (const api::Container& container : pod.spec.containers) {
    status.containerStatuses.push_back(container_status(container, input.state, main_waiting));
    const api::ContainerState& state = status.containerStatuses.back().state;
    main_has_run = main_has_run || state.running || state.terminated ||
                   status.containerStatuses.back().lastState.terminated;
  }
  status.phase = phase_of(pod, status, input.terminated);
  if (pod.status.phase == "Failed" || pod.status.phase == "Succeeded") status.phase = pod.status.phase;
  if (!input.state.failed_reason.empty()) {
    status.phase = "Failed";
    status.reason = input.state.failed_reason;
    status.message = input.state.failed_message;
  }
  // A pod is not over while anything of it runs: controllers would replace it too early.
  bool over = status.phase == "Failed" || status.phase == "Succeeded";
  if (over && !input.terminated && (any_running(input.state) || any_comes_back(pod, input.state)))
    status.phase = pod.status.phase.empty() ? "Pending" : pod.status.phase;
  if (!status.startTime) status.startTime = input.now;
  status.hostIP = input.host_ips.empty() ? std::string() : input.host_ips.front();
  status.hostIPs.clear();
  for (const std::string& ip : input.host_ips) status.hostIPs.push_back(api::HostIP{ip});
  if (!input.state.ips.empty()) {
    status.podIP = input.state.ips.front();
    status.podIPs.clear();
    for (const std::string& ip : input.state.ips) status.podIPs.push_back(api::PodIP{ip});
  }
  if (status.qosClass.empty()) status.qosClass = api::qos_class(pod);
  make_conditions(input, main_has_run, status);
  return status;
}

}  // namespace skiff::kubelet
