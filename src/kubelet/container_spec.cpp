#include "kubelet/container_spec.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>

#include "base/encoding.hpp"
#include "kubelet/container_security.hpp"
#include "kubelet/pod_cgroups.hpp"
#include "kubelet/sub_path.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

std::string value_before(const std::string& variable) { return variable.substr(0, variable.find('=')); }

/// The image's variables, then ours over them.
std::vector<std::string> process_environment(const ContainerInput& input) {
  std::vector<std::string> variables;
  for (const std::string& variable : input.image.config.env)
    if (!input.environment.contains(value_before(variable))) variables.push_back(variable);
  variables.push_back("HOSTNAME=" + input.hostname);
  for (const auto& [name, value] : input.environment) variables.push_back(name + "=" + value);
  return variables;
}

/// command replaces the image's entrypoint and its cmd; args replaces the cmd.
std::vector<std::string> process_arguments(const ContainerInput& input) {
  std::vector<std::string> arguments;
  const api::Container& container = input.container;
  auto add = [&](const std::vector<std::string>& part, bool expanded) {
    for (const std::string& word : part)
      arguments.push_back(expanded ? expand(word, input.environment) : word);
  };
  if (!container.command.empty())
    add(container.command, true);
  else
    add(input.image.config.entrypoint, false);
  if (!container.args.empty())
    add(container.args, true);
  else if (container.command.empty())
    add(input.image.config.cmd, false);
  return arguments;
}

runtime::Propagation propagation_of(const std::string& name) {
  if (name == "HostToContainer") return runtime::Propagation::HostToContainer;
  if (name == "Bidirectional") return runtime::Propagation::Bidirectional;
  return runtime::Propagation::Private;
}

/// Kernels that skiff runs on can do it, so IfPossible is Enabled.
bool wants_recursive(const api::VolumeMount& mount) {
  return mount.recursiveReadOnly == "Enabled" || mount.recursiveReadOnly == "IfPossible";
}

/// subPath, or subPathExpr with every variable replaced; a variable without a value is an error.
Result<std::string> sub_path_of(const ContainerInput& input, const api::VolumeMount& mount) {
  if (mount.subPathExpr.empty()) return mount.subPath;
  std::vector<std::string> missing;
  for (const std::string& name : references(mount.subPathExpr)) {
    auto value = input.environment.find(name);
    if (value == input.environment.end() || value->second.empty()) missing.push_back(name);
  }
  if (!missing.empty()) return error(Code::Invalid, "missing value for {}", join(missing, ", "));
  return expand(mount.subPathExpr, input.environment);
}

Status add_volume_mounts(const ContainerInput& input, runtime::ContainerSpec& spec) {
  for (const api::VolumeMount& wanted : input.container.volumeMounts) {
    auto source = input.volumes.find(wanted.name);
    if (source == input.volumes.end())
      return error(Code::Invalid, "cannot find volume \"{}\" to mount into container \"{}\"", wanted.name,
                   input.container.name);
    runtime::Mount mount;
    mount.source = source->second.path;
    mount.target = wanted.mountPath.starts_with("/") ? wanted.mountPath : "/" + wanted.mountPath;
    mount.read_only = wanted.readOnly || source->second.read_only;
    mount.recursive_read_only = wanted.readOnly && wants_recursive(wanted);
    mount.propagation = propagation_of(wanted.mountPropagation);
    TRY_ASSIGN(std::string sub_path, sub_path_of(input, wanted));
    if (!sub_path.empty()) {
      if (input.node != nullptr)
        TRY(prepare_sub_path({input.node->path(mount.source), sub_path, wanted.name, input.container.name}));
      mount.sub_path = sub_path;
    }
    spec.mounts.push_back(std::move(mount));
  }
  return ok();
}

Status add_devices(const ContainerInput& input, runtime::ContainerSpec& spec) {
  for (const api::VolumeDevice& wanted : input.container.volumeDevices) {
    auto volume = input.volumes.find(wanted.name);
    if (volume == input.volumes.end() || volume->second.device.empty())
      return error(Code::Invalid, "cannot find volume \"{}\" to pass into container \"{}\"", wanted.name,
                   input.container.name);
    TRY_ASSIGN(struct stat info, sys::stat_of(volume->second.device));
    spec.devices.push_back({.target = wanted.devicePath,
                            .block = true,
                            .major = major(info.st_rdev),
                            .minor = minor(info.st_rdev),
                            .read_only = volume->second.read_only});
  }
  return ok();
}

void add_file_mount(const std::string& source, const std::string& target, runtime::ContainerSpec& spec) {
  if (source.empty() ||
      std::ranges::any_of(spec.mounts, [&](const auto& mount) { return mount.target == target; }))
    return;  // a volume of the pod comes first
  runtime::Mount mount;
  mount.source = source;
  mount.target = target;
  spec.mounts.push_back(std::move(mount));
}

Status add_mounts(const ContainerInput& input, runtime::ContainerSpec& spec) {
  TRY(add_volume_mounts(input, spec));
  add_file_mount(input.hosts_file, "/etc/hosts", spec);
  add_file_mount(input.resolv_file, "/etc/resolv.conf", spec);
  add_file_mount(input.hostname_file, "/etc/hostname", spec);
  add_file_mount(input.termination_file, input.container.terminationMessagePath, spec);
  // A mount inside another one's target has to come after it.
  std::ranges::stable_sort(spec.mounts, {},
                           [](const runtime::Mount& mount) { return std::ranges::count(mount.target, '/'); });
  return ok();
}

runtime::Labels labels_of(const ContainerInput& input) {
  return {{kPodUid, input.pod.metadata.uid},
          {kPodName, input.pod.metadata.name},
          {kPodNamespace, input.pod.metadata.namespace_},
          {kContainerName, input.container.name},
          {kAttempt, std::to_string(input.attempt)},
          {kImage, input.image_name},
          {kImageId, input.image.digests.empty() ? input.image.id : input.image.digests.front()}};
}

}  // namespace

Result<runtime::ContainerSpec> make_container_spec(const ContainerInput& input) {
  runtime::ContainerSpec spec;
  spec.id = input.id;
  spec.sandbox = input.sandbox;
  spec.labels = labels_of(input);
  spec.directory = input.directory;
  spec.layers = input.image.lower_dirs;
  spec.cgroup = input.cgroup;
  spec.log_path = input.log_path;
  spec.tty = input.container.tty;
  spec.wants_stdin = input.container.stdin;
  spec.host_pids = input.pod.spec.hostPID;
  TRY(add_mounts(input, spec));
  TRY(add_devices(input, spec));
  spec.process.arguments = process_arguments(input);
  spec.process.environment = process_environment(input);
  spec.process.working_directory =
      !input.container.workingDir.empty() ? input.container.workingDir : input.image.config.working_dir;
  spec.process.oom_score_adj = oom_score(input.pod, input.container, input.node_memory);
  TRY(apply_security(input, spec));
  return spec;
}

std::string describe(const api::Pod& pod) {
  return fmt::format("{}_{}({})", pod.metadata.name, pod.metadata.namespace_, pod.metadata.uid);
}

int signal_number(const std::string& name) {
  int number = 0;
  auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (failed == std::errc() && end == name.data() + name.size() && number > 0 && number < NSIG) return number;
  std::string_view bare = name;
  if (bare.starts_with("SIG")) bare.remove_prefix(3);
  for (int candidate = 1; candidate < NSIG; ++candidate) {
    const char* known = ::sigabbrev_np(candidate);
    if (known != nullptr && bare == known) return candidate;
  }
  return SIGTERM;
}

int stop_signal(const api::Container& container, const image::Config& config) {
  if (container.lifecycle && !container.lifecycle->stopSignal.empty())
    return signal_number(container.lifecycle->stopSignal);
  return config.stop_signal.empty() ? SIGTERM : signal_number(config.stop_signal);
}

}  // namespace skiff::kubelet
