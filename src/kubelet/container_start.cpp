// Starting one container: backoff, image, configuration, run. Whatever fails becomes the reason it waits
// with.

#include <sys/stat.h>

#include <algorithm>

#include "base/log.hpp"
#include "kubelet/container_spec.hpp"
#include "kubelet/image_collector.hpp"
#include "kubelet/pod_runtime.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

constexpr Duration kConfigRetry = 5s;  // a missing ConfigMap or Secret may appear

}  // namespace

void PodRuntime::wait_with(const Start& start, ContainerRecord& record, const std::string& reason,
                           const std::string& message) {
  record.waiting_reason = reason;
  record.waiting_message = message;
  system_.events.warning(
      about(start.pod, start.container), "Failed",
      "Error: " +
          (reason == "CreateContainerConfigError" || reason == "RunContainerError" ? message : reason));
}

bool PodRuntime::held_back(const Start& start, ContainerRecord& record) {
  if (!record.current || record.current->running()) return false;
  if (record.restart_wanted) return false;
  WallTime now = system_.clock.wall_now();
  Duration left = record.backoff.remaining(record.current->container.finished_at, now);
  if (left <= Duration::zero()) {
    record.backoff.restarted(now);
    return false;
  }
  start.alarm.at(system_.clock.now() + left);
  if (record.waiting_reason == "CrashLoopBackOff") return true;
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(record.backoff.delay()).count();
  record.waiting_reason = "CrashLoopBackOff";
  // Go prints durations as 10s, 1m20s, 5m0s.
  std::string text =
      seconds < 60 ? fmt::format("{}s", seconds) : fmt::format("{}m{}s", seconds / 60, seconds % 60);
  record.waiting_message = fmt::format("back-off {} restarting failed container={} pod={}", text,
                                       start.container.name, describe(start.pod));
  system_.events.warning(about(start.pod, start.container), "BackOff",
                         fmt::format("Back-off restarting failed container {} in pod {}",
                                     start.container.name, describe(start.pod)));
  return true;
}

/// The running container whose processes an ephemeral container sees; "" for its own.
Result<std::string> PodRuntime::target_of_debugging(const Start& start) const {
  auto found = std::ranges::find(start.pod.spec.ephemeralContainers, start.container.name, &api::EphemeralContainer::name);
  if (found == start.pod.spec.ephemeralContainers.end() || found->targetContainerName.empty()) return std::string();
  const ContainerRecord* target = find_record(start.state, found->targetContainerName);
  if (target == nullptr || !target->current)
    return error(Code::NotFound, "unable to find target container {}", found->targetContainerName);
  // Containers that share the pod's or the node's processes see the target's anyway.
  bool shared = start.pod.spec.hostPID || start.pod.spec.shareProcessNamespace.value_or(false);
  return shared || !target->running() ? std::string() : target->current->container.id;
}

Result<runtime::ContainerSpec> PodRuntime::prepare(const Start& start, const ContainerRecord& record,
                                                   const image::Image& image, const std::string& image_name) {
  const std::string& uid = start.pod.metadata.uid;
  const std::string& name = start.container.name;
  TRY_ASSIGN(Environment environment,
             make_environment(fields_of(start.pod, start.state), start.container, system_.client));
  ContainerInput input{.pod = start.pod,
                       .container = start.container,
                       .image = image,
                       .seccomp = seccomp_,
                       .image_name = image_name,
                       .environment = std::move(environment),
                       .volumes = start.volumes,
                       .node = &system_.node,
                       .id = system_.random.hex(32),
                       .sandbox = uid,
                       .hostname = hostname_of(start.pod, facts_.name),
                       .attempt = record.next_attempt};
  std::string directory = pod_directory(uid);
  TRY(mark_image(directory, image.id));
  input.directory = directory + "/containers/" + input.id;
  input.log_path = log_path(uid, name, record.next_attempt);
  input.hosts_file = directory + "/etc/hosts";
  input.resolv_file = directory + "/etc/resolv.conf";
  input.hostname_file = directory + "/etc/hostname";
  input.termination_file = directory + "/termination/" + input.id;
  input.seccomp_directory = facts_.seccomp_directory;
  if (auto memory = facts_.allocatable.find("memory"); memory != facts_.allocatable.end())
    input.node_memory = memory->second.value();
  input.devices_guarded = system_.cgroups.guards_devices();
  TRY_ASSIGN(runtime::ContainerSpec spec, make_container_spec(input));
  TRY_ASSIGN(spec.pids_of, target_of_debugging(start));
  TRY(sys::make_directories(directory + "/termination"));
  TRY(sys::write_file(input.termination_file, ""));
  // For whatever user the container runs as, whatever our umask.
  if (::chmod(input.termination_file.c_str(), 0666) < 0) return errno_error(errno, "chmod '{}'", input.termination_file);
  TRY(sys::make_directories(directory + "/logs/" + name));
  TRY_ASSIGN(spec.cgroup, system_.cgroups.set_up_container(start.pod, start.container, input.id));
  return spec;
}

/// Makes `next` the current run; of the earlier ones the last is kept, as lastState and for `logs
/// --previous`.
void PodRuntime::retire_previous(ContainerRecord& record, Run next) {
  if (record.previous && !record.previous->container.directory.empty()) {
    Status removed = system_.node.remove_container(record.previous->container);
    if (!removed.ok()) log::warning("kubelet", "remove an old container: {}", removed.error().message());
    (void)sys::remove_file(record.previous->container.log_path).ok();
  }
  if (record.current) record.previous = std::move(record.current);
  record.current = std::move(next);
  record.renew = false;
  record.next_attempt = record.current->attempt + 1;
}

void PodRuntime::started(const Start& start, ContainerRecord& record) {
  record.waiting_reason.clear();
  record.waiting_message.clear();
  record.ready = record.started = record.restart_wanted = false;
  record.resources = start.container.resources;
  record.stop.reset();
  if (start.container.lifecycle && start.container.lifecycle->postStart) {
    HandlerTarget target = target_of(start.state, start.container, record);
    record.post_start = std::make_unique<HookTask>(
        [this, handler = *start.container.lifecycle->postStart, target](std::stop_token stop) {
          return system_.handlers.run(handler, target, stop);
        },
        [this, uid = start.pod.metadata.uid] { wake_(uid); });
    return;
  }
  begin_probes(start.pod, start.state, start.container, record);
}

void PodRuntime::launch(const Start& start, ContainerRecord& record, const runtime::ContainerSpec& spec) {
  Run run;
  run.container.id = spec.id;
  run.container.sandbox = spec.sandbox;
  run.container.labels = spec.labels;
  run.container.log_path = spec.log_path;
  run.container.directory = spec.directory;
  run.container.cgroup = spec.cgroup;
  run.attempt = record.next_attempt;
  run.image = spec.labels.at(kImage);
  run.image_id = spec.labels.at(kImageId);
  system_.events.normal(about(start.pod, start.container), "Created", "Container created");
  reached("container-prepared");
  Result<runtime::StartedContainer> result = system_.node.run_container(spec);
  reached("container-started");
  if (result.ok()) {
    run.container.state = runtime::ContainerState::Running;
    run.container.started_at = result.value().started_at;
    run.container.identity = result.value().identity;
    for (const std::string& warning : result.value().warnings)
      log::warning("kubelet", "container {} of {}: {}", start.container.name, describe(start.pod), warning);
    retire_previous(record, std::move(run));
    system_.events.normal(about(start.pod, start.container), "Started", "Container started");
    return started(start, record);
  }
  // It counts as a run that ended at once, so that backoff and restart policy apply.
  run.container.state = runtime::ContainerState::Exited;
  run.container.exit_code = 128;
  run.container.started_at = run.container.finished_at = system_.clock.wall_now();
  run.reason = "StartError";
  run.message =
      "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create "
      "failed: "
      "unable to start container process: error during container init: " +
      result.error().message();
  retire_previous(record, std::move(run));
  wait_with(start, record, "RunContainerError", record.current->message);
  start.alarm.at(system_.clock.now() + 1s);
}

/// Image volumes of the container; false: one of the images is not here, and the container waits for it.
bool PodRuntime::mount_images(Start& start, ContainerRecord& record) {
  for (const api::VolumeMount& mount : start.container.volumeMounts) {
    auto volume = std::ranges::find(start.pod.spec.volumes, mount.name, &api::Volume::name);
    if (volume == start.pod.spec.volumes.end() || !volume->image) continue;
    std::string name;
    std::optional<image::Image> image =
        find_image(start, record, {volume->image->reference, volume->image->pullPolicy}, name);
    if (!image) return false;
    const std::string directory = pod_directory(start.pod.metadata.uid);
    Status marked = mark_image(directory, image->id);
    Result<MountedVolume> mounted =
        marked.ok() ? system_.volumes.set_up_image(directory, volume->name, *image) : Result<MountedVolume>(marked.error());
    if (!mounted.ok()) {
      if (record.waiting_message != mounted.error().message())
        wait_with(start, record, "CreateContainerError", mounted.error().message());
      start.alarm.at(system_.clock.now() + kConfigRetry);
      return false;
    }
    start.state.volume_images[volume->name] = mounted.value().image;
    start.volumes[volume->name] = std::move(mounted).value();
  }
  return true;
}

void PodRuntime::start_container(Start start) {
  ContainerRecord& record = start.state.containers[start.container.name];
  if (held_back(start, record)) return;
  std::string image_name;
  std::optional<image::Image> image = find_image(start, record, {start.container.image, start.container.imagePullPolicy}, image_name);
  if (!image || !mount_images(start, record)) return;
  Result<runtime::ContainerSpec> spec = prepare(start, record, *image, image_name);
  if (!spec.ok()) {
    if (record.waiting_message != spec.error().message() ||
        record.waiting_reason != "CreateContainerConfigError")
      wait_with(start, record, "CreateContainerConfigError", spec.error().message());
    start.alarm.at(system_.clock.now() + kConfigRetry);
    return;
  }
  launch(start, record, spec.value());
}

}  // namespace skiff::kubelet
