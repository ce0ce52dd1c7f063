#include "registry/kinds/containers.hpp"

#include <algorithm>
#include <set>

namespace skiff::registry {
namespace {

using api::Container;
using api::quote;

void check_ports(const Container& container, const Path& path, FieldErrors& errors) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < container.ports.size(); ++i) {
    const api::ContainerPort& port = container.ports[i];
    const Path at = path.child("ports", i);
    if (!port.name.empty()) {
      api::Problems problems = api::port_name_problems(port.name);
      add_problems(at.child("name"), port.name, problems, errors);
      if (problems.empty() && !names.insert(port.name).second) errors.duplicate(at.child("name"), quote(port.name));
    }
    if (port.containerPort == 0) errors.required(at.child("containerPort"));
    else check_port(port.containerPort, at.child("containerPort"), errors);
    if (port.hostPort != 0) check_port(port.hostPort, at.child("hostPort"), errors);
    require_one_of(port.protocol, at.child("protocol"), {"SCTP", "TCP", "UDP"}, errors);
  }
}

// Two containers cannot have the same port of the node.
class HostPorts {
 public:
  void add(const Container& container, const Path& path, FieldErrors& errors) {
    for (size_t i = 0; i < container.ports.size(); ++i) {
      const api::ContainerPort& port = container.ports[i];
      if (port.hostPort == 0) continue;
      std::string one = fmt::format("{}/{}/{}", port.protocol, port.hostIP, port.hostPort);
      const Path at = path.child("ports", i);
      if (!seen_.insert(one).second) errors.duplicate(at.child("hostPort"), quote(one));
    }
  }

 private:
  std::set<std::string> seen_;
};

template <class Ref>
void check_key_ref(const Ref& ref, const Path& path, FieldErrors& errors) {
  check_dns_subdomain(ref.name, path.child("name"), errors);
  if (require(ref.key, path.child("key"), errors))
    add_problems(path.child("key"), ref.key, api::config_map_key_problems(ref.key), errors);
}

void check_file_key(const api::FileKeySelector& ref, const Path& path, FieldErrors& errors) {
  if (require(ref.volumeName, path.child("volumeName"), errors))
    check_dns_label(ref.volumeName, path.child("volumeName"), errors);
  if (require(ref.path, path.child("path"), errors)) check_descending_path(ref.path, path.child("path"), errors);
  if (require(ref.key, path.child("key"), errors))
    add_problems(path.child("key"), ref.key, api::env_var_name_problems(ref.key), errors);
}

void check_value_from(const api::EnvVar& env, const Path& path, FieldErrors& errors) {
  const api::EnvVarSource& from = *env.valueFrom;
  int sources = 0;
  auto counted = [&](bool set) { return set && ++sources > 0; };
  if (counted(bool(from.fieldRef)))
    check_field_ref(*from.fieldRef,
                    {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
                     "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"},
                    path.child("fieldRef"), errors);
  if (counted(bool(from.resourceFieldRef)))
    check_resource_field_ref(*from.resourceFieldRef, false, path.child("resourceFieldRef"), errors);
  if (counted(bool(from.configMapKeyRef))) check_key_ref(*from.configMapKeyRef, path.child("configMapKeyRef"), errors);
  if (counted(bool(from.secretKeyRef))) check_key_ref(*from.secretKeyRef, path.child("secretKeyRef"), errors);
  if (counted(bool(from.fileKeyRef))) check_file_key(*from.fileKeyRef, path.child("fileKeyRef"), errors);
  if (sources == 0)
    errors.invalid(path, "\"\"",
                   "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or "
                   "`fileKeyRef`");
  else if (!env.value.empty()) errors.invalid(path, "\"\"", "may not be specified when `value` is not empty");
  else if (sources > 1) errors.invalid(path, "\"\"", "may not have more than one field specified at a time");
}

void check_environment(const Container& container, const Path& path, FieldErrors& errors) {
  for (size_t i = 0; i < container.env.size(); ++i) {
    const api::EnvVar& env = container.env[i];
    const Path at = path.child("env", i);
    if (require(env.name, at.child("name"), errors))
      add_problems(at.child("name"), env.name, api::env_var_name_problems(env.name), errors);
    if (env.valueFrom) check_value_from(env, at.child("valueFrom"), errors);
  }
  for (size_t i = 0; i < container.envFrom.size(); ++i) {
    const api::EnvFromSource& from = container.envFrom[i];
    const Path at = path.child("envFrom", i);
    if (!from.prefix.empty())
      add_problems(at.child("prefix"), from.prefix, api::env_var_name_problems(from.prefix), errors);
    auto named = [&](const auto& ref, const char* name) {
      if (!ref) return;
      const Path to = at.child(name);
      check_dns_subdomain(ref->name, to.child("name"), errors);
    };
    named(from.configMapRef, "configMapRef");
    named(from.secretRef, "secretRef");
    int sources = (from.configMapRef ? 1 : 0) + (from.secretRef ? 1 : 0);
    if (sources == 0) errors.invalid(at, "\"\"", "must specify one of: `configMapRef` or `secretRef`");
    if (sources > 1) errors.invalid(at, "\"\"", "may not have more than one field specified at a time");
  }
}

const api::Volume* volume_of(const ContainerSurroundings& around, std::string_view name) {
  auto found = std::find_if(around.volumes.begin(), around.volumes.end(),
                            [&](const api::Volume* volume) { return volume->name == name; });
  return found == around.volumes.end() ? nullptr : *found;
}

void check_mount_options(const Container& container, const api::VolumeMount& mount, const Path& path,
                         FieldErrors& errors) {
  if (!mount.subPath.empty()) check_descending_path(mount.subPath, path.child("subPath"), errors);
  if (!mount.subPathExpr.empty()) {
    if (!mount.subPath.empty())
      errors.invalid(path.child("subPathExpr"), quote(mount.subPathExpr),
                     "subPathExpr and subPath are mutually exclusive");
    check_descending_path(mount.subPathExpr, path.child("subPathExpr"), errors);
  }
  if (!mount.mountPropagation.empty()) {
    const Path at = path.child("mountPropagation");
    check_one_of(mount.mountPropagation, at, {"Bidirectional", "HostToContainer", "None"}, errors);
    bool privileged = container.securityContext && container.securityContext->privileged.value_or(false);
    if (mount.mountPropagation == "Bidirectional" && !privileged)
      errors.forbidden(at, "Bidirectional mount propagation is available only to privileged containers");
  }
  if (mount.recursiveReadOnly.empty() || mount.recursiveReadOnly == "Disabled") return;
  const Path at = path.child("recursiveReadOnly");
  check_one_of(mount.recursiveReadOnly, at, {"Disabled", "Enabled", "IfPossible"}, errors);
  if (!mount.readOnly) errors.forbidden(at, "may only be specified when readOnly is true");
  if (!mount.mountPropagation.empty() && mount.mountPropagation != "None")
    errors.forbidden(at, "may only be specified when mountPropagation is None or not specified");
}

void check_mounts(const ContainerSurroundings& around, const Container& container, const Path& path,
                  FieldErrors& errors) {
  std::set<std::string_view> paths;
  for (size_t i = 0; i < container.volumeMounts.size(); ++i) {
    const api::VolumeMount& mount = container.volumeMounts[i];
    const Path at = path.child("volumeMounts", i);
    require(mount.name, at.child("name"), errors);
    if (!volume_of(around, mount.name)) errors.not_found(at.child("name"), quote(mount.name));
    require(mount.mountPath, at.child("mountPath"), errors);
    if (!paths.insert(mount.mountPath).second)
      errors.invalid(at.child("mountPath"), quote(mount.mountPath), "must be unique");
    for (const api::VolumeDevice& device : container.volumeDevices) {
      if (device.name == mount.name)
        errors.invalid(at.child("name"), quote(mount.name), "must not already exist in volumeDevices");
      if (device.devicePath == mount.mountPath)
        errors.invalid(at.child("mountPath"), quote(mount.mountPath),
                       "must not already exist as a path in volumeDevices");
    }
    check_mount_options(container, mount, at, errors);
  }
}

void check_devices(const ContainerSurroundings& around, const Container& container, const Path& path,
                   FieldErrors& errors) {
  std::set<std::string_view> paths, names;
  for (size_t i = 0; i < container.volumeDevices.size(); ++i) {
    const api::VolumeDevice& device = container.volumeDevices[i];
    const Path at = path.child("volumeDevices", i);
    require(device.name, at.child("name"), errors);
    if (!names.insert(device.name).second) errors.invalid(at.child("name"), quote(device.name), "must be unique");
    const api::Volume* volume = volume_of(around, device.name);
    if (!volume) errors.not_found(at.child("name"), quote(device.name));
    else if (!volume->persistentVolumeClaim && !volume->ephemeral)
      errors.invalid(at.child("name"), quote(device.name),
                     "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
    if (require(device.devicePath, at.child("devicePath"), errors)) {
      if (!paths.insert(device.devicePath).second)
        errors.invalid(at.child("devicePath"), quote(device.devicePath), "must be unique");
      if (device.devicePath.find("..") != std::string::npos)
        errors.invalid(at.child("devicePath"), quote(device.devicePath),
                       "can not contain backsteps ('..') in its definition");
    }
  }
}

void check_resize_policy(const Container& container, const api::PodSpec& spec, const Path& path, FieldErrors& errors) {
  std::set<std::string_view> seen;
  const Path list = path.child("resizePolicy");
  for (size_t i = 0; i < container.resizePolicy.size(); ++i) {
    const api::ContainerResizePolicy& policy = container.resizePolicy[i];
    if (!seen.insert(policy.resourceName).second)
      errors.duplicate(path.child("resizePolicy", i), quote(policy.resourceName));
    require_one_of(policy.resourceName, list, {"cpu", "memory"}, errors);
    require_one_of(policy.restartPolicy, list, {"NotRequired", "RestartContainer"}, errors);
    if (spec.restartPolicy == "Never" && policy.restartPolicy != "NotRequired")
      errors.invalid(list, quote(policy.restartPolicy), "must be 'NotRequired' when `restartPolicy` is 'Never'");
  }
}

void check_claims(const Container& container, const api::PodSpec& spec, const Path& path, FieldErrors& errors) {
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (size_t i = 0; i < container.resources.claims.size(); ++i) {
    const api::ResourceClaim& claim = container.resources.claims[i];
    const Path at = path.child("claims", i);
    if (!require(claim.name, at, errors)) continue;
    if (!seen.insert({claim.name, claim.request}).second)
      errors.duplicate(at, quote(claim.request.empty() ? claim.name : claim.name + "/" + claim.request));
    if (std::none_of(spec.resourceClaims.begin(), spec.resourceClaims.end(),
                     [&](const api::PodResourceClaim& one) { return one.name == claim.name; }))
      errors.not_found(at, quote(claim.name));
  }
}

bool padded(std::string_view image) {
  constexpr char kBlanks[] = " \t\r\n\v\f";
  return !image.empty() && (image.find_first_of(kBlanks) == 0 || image.find_last_of(kBlanks) == image.size() - 1);
}

void check_restart_rules(const Container& container, const Path& path, FieldErrors& errors) {
  if (!container.restartPolicyRules.empty() && container.restartPolicy.empty())
    errors.required(path.child("restartPolicy"), "must be specified when `restartPolicyRules` is specified");
  if (container.restartPolicyRules.size() > 20)
    errors.too_many(path.child("restartPolicyRules"), container.restartPolicyRules.size(), 20);
  for (size_t i = 0; i < container.restartPolicyRules.size(); ++i) {
    const api::ContainerRestartRule& rule = container.restartPolicyRules[i];
    const Path at = path.child("restartPolicyRules", i);
    require_one_of(rule.action, at.child("action"), {"Restart", "RestartAllContainers"}, errors);
    const Path codes = at.child("exitCodes");
    if (!rule.exitCodes) {
      errors.required(codes, "must be specified");
      continue;
    }
    require_one_of(rule.exitCodes->operator_, codes.child("operator"), {"In", "NotIn"}, errors);
    if (rule.exitCodes->values.empty()) errors.required(codes.child("values"), "must specify one or more exit codes");
    if (rule.exitCodes->values.size() > 255) errors.too_many(codes.child("values"), rule.exitCodes->values.size(), 255);
  }
}

void check_common(const ContainerSurroundings& around, const Container& container, const Path& path,
                  FieldErrors& errors) {
  if (require(container.name, path.child("name"), errors)) check_dns_label(container.name, path.child("name"), errors);
  require(container.image, path.child("image"), errors);
  require_one_of(container.terminationMessagePolicy, path.child("terminationMessagePolicy"),
                 {"File", "FallbackToLogsOnError"}, errors);
  check_ports(container, path, errors);
  check_environment(container, path, errors);
  check_mounts(around, container, path, errors);
  check_devices(around, container, path, errors);
  require_one_of(container.imagePullPolicy, path.child("imagePullPolicy"), {"Always", "IfNotPresent", "Never"}, errors);
  const Path resources = path.child("resources");
  check_resources(container.resources, resources, errors);
  check_claims(container, around.spec, resources, errors);
  check_resize_policy(container, around.spec, path, errors);
  if (container.securityContext)
    check_security_context(*container.securityContext, around.spec.hostUsers.value_or(true),
                           path.child("securityContext"), errors);
}

void check_probes(const ContainerSurroundings& around, const Container& container, const Path& path,
                  FieldErrors& errors) {
  if (container.lifecycle) check_lifecycle(*container.lifecycle, around.spec, path.child("lifecycle"), errors);
  if (container.livenessProbe)
    check_probe(*container.livenessProbe, ProbeKind::Liveness, path.child("livenessProbe"), errors);
  if (container.readinessProbe)
    check_probe(*container.readinessProbe, ProbeKind::Readiness, path.child("readinessProbe"), errors);
  if (container.startupProbe)
    check_probe(*container.startupProbe, ProbeKind::Startup, path.child("startupProbe"), errors);
}

void forbid_probes(const Container& container, const char* why, const Path& path, FieldErrors& errors) {
  if (container.lifecycle) errors.forbidden(path.child("lifecycle"), why);
  if (container.livenessProbe) errors.forbidden(path.child("livenessProbe"), why);
  if (container.readinessProbe) errors.forbidden(path.child("readinessProbe"), why);
  if (container.startupProbe) errors.forbidden(path.child("startupProbe"), why);
}

void check_init_containers(const ContainerSurroundings& around, std::set<std::string_view> names, const Path& spec,
                           FieldErrors& errors) {
  for (size_t i = 0; i < around.spec.initContainers.size(); ++i) {
    const Container& container = around.spec.initContainers[i];
    const Path at = spec.child("initContainers", i);
    check_common(around, container, at, errors);
    if (!container.restartPolicy.empty())
      check_one_of(container.restartPolicy, at.child("restartPolicy"), {"Always", "Never", "OnFailure"}, errors);
    check_restart_rules(container, at, errors);
    if (!container.name.empty() && !names.insert(container.name).second)
      errors.duplicate(at.child("name"), quote(container.name));
    HostPorts().add(container, at, errors);
    if (container.restartPolicy == "Always") check_probes(around, container, at, errors);
    else forbid_probes(container, "may not be set for init containers without restartPolicy=Always", at, errors);
  }
}

void forbid_for_ephemeral(const Container& container, const Path& path, FieldErrors& errors) {
  constexpr char kForbidden[] = "cannot be set for an Ephemeral Container";
  if (!container.ports.empty()) errors.forbidden(path.child("ports"), kForbidden);
  if (!container.resources.limits.empty() || !container.resources.requests.empty() ||
      !container.resources.claims.empty())
    errors.forbidden(path.child("resources"), kForbidden);
  if (!container.resizePolicy.empty()) errors.forbidden(path.child("resizePolicy"), kForbidden);
  if (!container.restartPolicy.empty()) errors.forbidden(path.child("restartPolicy"), kForbidden);
  if (!container.restartPolicyRules.empty()) errors.forbidden(path.child("restartPolicyRules"), kForbidden);
  if (container.livenessProbe) errors.forbidden(path.child("livenessProbe"), kForbidden);
  if (container.readinessProbe) errors.forbidden(path.child("readinessProbe"), kForbidden);
  if (container.startupProbe) errors.forbidden(path.child("startupProbe"), kForbidden);
  if (container.lifecycle) errors.forbidden(path.child("lifecycle"), kForbidden);
  for (size_t i = 0; i < container.volumeMounts.size(); ++i) {
    const Path at = path.child("volumeMounts", i);
    if (!container.volumeMounts[i].subPath.empty()) errors.forbidden(at.child("subPath"), kForbidden);
    if (!container.volumeMounts[i].subPathExpr.empty()) errors.forbidden(at.child("subPathExpr"), kForbidden);
  }
}

void check_ephemeral_containers(const ContainerSurroundings& around, const Path& spec, FieldErrors& errors) {
  if (around.spec.ephemeralContainers.empty()) return;
  std::set<std::string_view> others;
  for (const Container& container : around.spec.containers) others.insert(container.name);
  for (const Container& container : around.spec.initContainers) others.insert(container.name);
  std::set<std::string_view> all = others;
  for (size_t i = 0; i < around.spec.ephemeralContainers.size(); ++i) {
    const api::EphemeralContainer& ephemeral = around.spec.ephemeralContainers[i];
    const Path at = spec.child("ephemeralContainers", i);
    const Container container = as_container(ephemeral);
    check_common(around, container, at, errors);
    if (padded(container.image))
      errors.invalid(at.child("image"), quote(container.image), "must not have leading or trailing whitespace");
    if (!all.insert(ephemeral.name).second) errors.duplicate(at.child("name"), quote(ephemeral.name));
    if (!ephemeral.targetContainerName.empty() && !others.contains(ephemeral.targetContainerName))
      errors.not_found(at.child("targetContainerName"), quote(ephemeral.targetContainerName));
    forbid_for_ephemeral(container, at, errors);
  }
}

void check_padding(const std::vector<Container>& containers, const char* list, const Path& spec, FieldErrors& errors) {
  for (size_t i = 0; i < containers.size(); ++i) {
    const Path at = spec.child(list, i);
    if (padded(containers[i].image))
      errors.invalid(at.child("image"), quote(containers[i].image), "must not have leading or trailing whitespace");
  }
}

}  // namespace

api::Container as_container(const api::EphemeralContainer& from) {
  Container to;
  to.name = from.name;
  to.image = from.image;
  to.ports = from.ports;
  to.env = from.env;
  to.envFrom = from.envFrom;
  to.resources = from.resources;
  to.volumeMounts = from.volumeMounts;
  to.volumeDevices = from.volumeDevices;
  to.livenessProbe = from.livenessProbe;
  to.readinessProbe = from.readinessProbe;
  to.startupProbe = from.startupProbe;
  to.lifecycle = from.lifecycle;
  to.terminationMessagePolicy = from.terminationMessagePolicy;
  to.imagePullPolicy = from.imagePullPolicy;
  to.securityContext = from.securityContext;
  to.resizePolicy = from.resizePolicy;
  to.restartPolicy = from.restartPolicy;
  to.restartPolicyRules = from.restartPolicyRules;
  return to;
}

void check_containers(const ContainerSurroundings& around, const Path& spec, FieldErrors& errors) {
  std::set<std::string_view> names;
  if (around.spec.containers.empty()) errors.required(spec.child("containers"));
  for (size_t i = 0; i < around.spec.containers.size(); ++i) {
    const Container& container = around.spec.containers[i];
    const Path at = spec.child("containers", i);
    check_common(around, container, at, errors);
    if (!names.insert(container.name).second) errors.duplicate(at.child("name"), quote(container.name));
    check_probes(around, container, at, errors);
    if (!container.restartPolicy.empty())
      check_one_of(container.restartPolicy, at.child("restartPolicy"), {"Always", "Never", "OnFailure"}, errors);
    check_restart_rules(container, at, errors);
  }
  HostPorts host_ports;
  for (size_t i = 0; i < around.spec.containers.size(); ++i)
    host_ports.add(around.spec.containers[i], spec.child("containers", i), errors);
  check_init_containers(around, std::move(names), spec, errors);
  check_ephemeral_containers(around, spec, errors);
  if (around.kind != PodKind::Pod) return;
  check_padding(around.spec.containers, "containers", spec, errors);
  check_padding(around.spec.initContainers, "initContainers", spec, errors);
}

}  // namespace skiff::registry
