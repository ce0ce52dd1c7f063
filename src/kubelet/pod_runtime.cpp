#include "kubelet/pod_runtime.hpp"

#include <sys/stat.h>

#include <algorithm>

#include "api/pods.hpp"
#include "base/log.hpp"
#include "kubelet/admission.hpp"
#include "kubelet/container_spec.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {

std::string PodRuntime::log_path(const std::string& uid, const std::string& container, int attempt) const {
  return fmt::format("{}/logs/{}/{}.log", pod_directory(uid), container, attempt);
}

FieldSource PodRuntime::fields_of(const api::Pod& pod, const PodState& state) const {
  return {pod, state.ips, facts_.ips, facts_.allocatable};
}

HandlerTarget PodRuntime::target_of(const PodState& state, const api::Container& container,
                                    const ContainerRecord& record) const {
  return {record.current ? record.current->container.id : "", container,
          state.ips.empty() ? facts_.ips.front() : state.ips.front()};
}

api::ObjectReference PodRuntime::about(const api::Pod& pod) const {
  api::ObjectReference reference;
  reference.kind = "Pod";
  reference.apiVersion = "v1";
  reference.namespace_ = pod.metadata.namespace_;
  reference.name = pod.metadata.name;
  reference.uid = pod.metadata.uid;
  reference.resourceVersion = pod.metadata.resourceVersion;
  return reference;
}

api::ObjectReference PodRuntime::about(const api::Pod& pod, const api::Container& container) const {
  api::ObjectReference reference = about(pod);
  bool init =
      std::ranges::any_of(pod.spec.initContainers, [&](const auto& c) { return c.name == container.name; });
  bool ephemeral = std::ranges::any_of(pod.spec.ephemeralContainers,
                                       [&](const auto& c) { return c.name == container.name; });
  std::string_view list = ephemeral ? "ephemeralContainers" : init ? "initContainers" : "containers";
  reference.fieldPath = fmt::format("spec.{}{{{}}}", list, container.name);
  return reference;
}

Result<PodVolumes> PodRuntime::make_volumes(const api::Pod& pod, PodState& state) {
  Result<PodVolumes> paths = system_.volumes.set_up(pod_directory(pod.metadata.uid), fields_of(pod, state));
  if (paths.ok()) {
    state.volumes_ready = true;
    state.volume_problem.clear();
  } else if (state.volume_problem != paths.error().message()) {
    state.volume_problem = paths.error().message();
    system_.events.warning(about(pod), "FailedMount", state.volume_problem);
  }
  return paths;
}

Status PodRuntime::make_sandbox(const api::Pod& pod, PodState& state) {
  if (!state.sandbox.empty()) return ok();
  const std::string& uid = pod.metadata.uid;
  runtime::SandboxSpec spec;
  spec.id = uid;
  spec.labels = {{kPodUid, uid}, {kPodName, pod.metadata.name}, {kPodNamespace, pod.metadata.namespace_}};
  std::string fqdn = fqdn_of(pod, facts_.dns.domain);
  spec.hostname =
      pod.spec.setHostnameAsFQDN.value_or(false) && !fqdn.empty() ? fqdn : hostname_of(pod, facts_.name);
  spec.host_network = pod.spec.hostNetwork;
  spec.host_ipc = pod.spec.hostIPC;
  spec.shared_pids = pod.spec.shareProcessNamespace.value_or(false);
  spec.shared_memory = pod_directory(uid) + "/shm";
  if (pod.spec.securityContext)
    for (const api::Sysctl& sysctl : pod.spec.securityContext->sysctls)
      spec.sysctls.push_back(sysctl.name + "=" + sysctl.value);
  if (!pod.spec.hostUsers.value_or(true)) {
    TRY_ASSIGN(spec.first_id, user_ids_.take(pod_directory(uid)));
  }
  TRY_ASSIGN(state.network, system_.node.create_sandbox(spec));
  reached("sandbox");
  if (pod.spec.hostNetwork) {
    state.ips = facts_.ips;
  } else {
    Result<std::vector<std::string>> ips = system_.network.attach(uid, state.network);
    if (!ips.ok()) {
      (void)system_.node.remove_sandbox(uid).ok();  // made again with the next attempt
      return std::move(ips).error();
    }
    state.ips = std::move(ips).value();
  }
  state.sandbox = uid;
  return ok();
}

Status PodRuntime::write_pod_files(const api::Pod& pod, const PodState& state) {
  std::string directory = pod_directory(pod.metadata.uid) + "/etc";
  if (sys::exists(directory + "/hostname")) return ok();  // the last one written
  TRY(sys::make_directories(directory));
  std::string hosts = hosts_file(pod, state.ips, facts_.name, facts_.dns.domain);
  if (pod.spec.hostNetwork) {
    Result<std::string> own = sys::read_file("/etc/hosts");
    hosts = host_network_hosts_file(pod, own.ok() ? own.value() : "");
  }
  TRY(sys::write_file(directory + "/hosts", hosts));
  TRY(sys::write_file(directory + "/resolv.conf", resolv_file(pod, facts_.dns)));
  return sys::write_file(directory + "/hostname", hostname_of(pod, facts_.name) + "\n");
}

/// Once, before anything is made for a pod that is new here. False: the node does not take it.
bool PodRuntime::admit(const api::Pod& pod, PodState& state) {
  if (state.admitted) return true;
  state.admitted = true;
  const std::string& uid = pod.metadata.uid;
  if (!state.sandbox.empty() || !pod.status.containerStatuses.empty()) {
    system_.room.hold(uid, reservation(pod));
    return true;
  }
  Result<client::Ref<api::Node>> node = system_.client.get<api::Node>({"", facts_.name});
  std::optional<Rejection> rejection =
      check_admission(pod, {.node = node.ok() ? node.value().get() : nullptr,
                            .app_armor = sys::exists("/sys/kernel/security/apparmor"),
                            .unsafe_sysctls = facts_.unsafe_sysctls});
  if (!rejection)
    if (std::optional<Shortage> shortage = system_.room.take(uid, reservation(pod))) rejection = out_of(*shortage);
  if (!rejection) return true;
  state.failed_reason = rejection->reason;
  state.failed_message = "Pod was rejected: " + rejection->message;
  system_.events.warning(about(pod), rejection->reason, rejection->message);
  return false;
}

void PodRuntime::evict(const api::Pod& pod, PodState& state, const std::string& message) {
  if (!state.failed_reason.empty() || state.cleaned_up) return;
  state.failed_reason = "Evicted";
  state.failed_message = message;
  state.stop_grace = 1s;
  system_.events.warning(about(pod), "Evicted", message);
}

bool PodRuntime::check_deadline(const api::Pod& pod, PodState& state, Alarm& alarm) {
  if (!pod.spec.activeDeadlineSeconds || !pod.status.startTime) return false;
  auto deadline = pod.status.startTime.wall() + std::chrono::seconds(*pod.spec.activeDeadlineSeconds);
  WallTime now = system_.clock.wall_now();
  if (now < deadline) {
    alarm.at(system_.clock.now() + (deadline - now));
    return false;
  }
  state.failed_reason = "DeadlineExceeded";
  state.failed_message = "Pod was active on the node longer than the specified deadline";
  system_.events.normal(about(pod), "DeadlineExceeded", state.failed_message);
  return true;
}

void PodRuntime::begin_probes(const api::Pod& pod, const PodState& state, const api::Container& container,
                              ContainerRecord& record) {
  // Initial delays count from the container's start, also after a restart of skiff.
  Duration age = system_.clock.wall_now() - record.current->container.started_at;
  ProbeRunner::Subject subject{pod.metadata.uid, target_of(state, container, record),
                               system_.clock.now() - age};
  if (container.startupProbe && !record.started)
    return system_.probes.add(subject, ProbeKind::Startup, *container.startupProbe);
  record.started = true;
  if (container.livenessProbe) system_.probes.add(subject, ProbeKind::Liveness, *container.livenessProbe);
  if (container.readinessProbe)
    system_.probes.add(subject, ProbeKind::Readiness, *container.readinessProbe);
  else
    record.ready = true;
}

/// What running containers still wait for: postStart, probes, and stops under way.
void PodRuntime::continue_containers(const api::Pod& pod, PodState& state, Alarm& alarm) {
  for (auto& [name, record] : state.containers) {
    const api::Container* container = container_of(pod, state, name);
    if (container == nullptr || !record.running()) continue;
    StopRequest stop{pod, state, *container, 0s, "", alarm};
    if (record.stop) {
      (void)stop_container(stop, record);
      continue;
    }
    if (record.post_start && !record.post_start->finished()) continue;
    if (record.post_start && !record.post_start->failure().empty()) {
      log::info("kubelet", "postStart of container {} of {}: {}", name, describe(pod), record.post_start->failure());
      record.post_start.reset();
      system_.events.warning(about(pod, *container), "FailedPostStartHook",
                             "PostStartHook failed");
      stop.grace = std::chrono::seconds(pod.spec.terminationGracePeriodSeconds.value_or(30));
      stop.message = "FailedPostStartHook";
      (void)stop_container(stop, record);
      continue;
    }
    record.post_start.reset();
    begin_probes(pod, state, *container, record);
  }
}

Result<PodRuntime::Progress> PodRuntime::sync(const api::Pod& pod, PodState& state, Alarm& alarm) {
  if (!state.failed_reason.empty() || check_deadline(pod, state, alarm)) return Progress{true};
  if (!admit(pod, state)) return Progress{true};
  apply_resize(pod, state, alarm);
  continue_containers(pod, state, alarm);
  if (state.restart_all && !end_all(pod, state, alarm)) return Progress{};
  PodPlan plan = plan_pod(pod, state);
  if (plan.finished) return Progress{true};
  for (const api::Container* sidecar : plan.stop) {
    Duration grace = std::chrono::seconds(pod.spec.terminationGracePeriodSeconds.value_or(30));
    (void)stop_container({pod, state, *sidecar, grace, "Stopping container " + sidecar->name, alarm},
                         state.containers[sidecar->name]);
  }
  reached("begin");
  TRY(sys::make_directories(pod_directory(pod.metadata.uid)));
  Result<std::string> cgroup = system_.cgroups.set_up(pod);
  if (!cgroup.ok()) {
    system_.events.warning(about(pod), "FailedCreatePodContainer",
                           "unable to ensure pod container exists: " + cgroup.error().message());
    return std::move(cgroup).error();
  }
  reached("cgroup");
  TRY_ASSIGN(PodVolumes volumes, make_volumes(pod, state));
  reached("volumes");
  alarm.at(system_.volumes.next_refresh(pod.metadata.uid));
  if (Status made = make_sandbox(pod, state); !made.ok()) {
    system_.events.warning(about(pod), "FailedCreatePodSandBox",
                           "Failed to create pod sandbox: " + made.error().message());
    return std::move(made).error();
  }
  reached("network");
  TRY(write_pod_files(pod, state));
  reached("files");
  for (const api::Container* container : plan.start)
    start_container({pod, state, *container, volumes, alarm});
  return Progress{};
}

Status PodRuntime::clean_up(const api::Pod& pod, PodState& state) {
  if (state.cleaned_up) return ok();
  const std::string& uid = pod.metadata.uid;
  system_.pulls.forget(uid);
  for (auto& [name, record] : state.containers) {
    record.post_start.reset();
    record.pre_stop.reset();
    for (const std::optional<Run>* run : {&record.current, &record.previous})
      if (*run && !(*run)->container.directory.empty()) TRY(system_.node.remove_container((*run)->container));
  }
  reached("containers-removed");
  TRY(system_.network.detach(uid));
  reached("network-removed");
  TRY(system_.node.remove_sandbox(uid));
  reached("sandbox-removed");
  TRY(system_.volumes.tear_down(pod_directory(uid), uid));
  reached("volumes-removed");
  TRY(system_.cgroups.tear_down(uid));
  reached("cgroup-removed");
  for (const char* part : {"/etc", "/shm", "/containers", "/termination", "/images"})
    TRY(sys::remove_tree(pod_directory(uid) + part));
  TRY(user_ids_.give_back(pod_directory(uid)));
  system_.room.release(uid);
  state.network.reset();
  state.sandbox.clear();
  state.cleaned_up = true;
  return ok();
}

Status PodRuntime::remove_logs(const std::string& uid) { return sys::remove_tree(pod_directory(uid)); }

}  // namespace skiff::kubelet
