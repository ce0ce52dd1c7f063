#include "registry/kinds/pod_template.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "api/names.hpp"
#include "api/selector.hpp"

namespace skiff::registry {
namespace {

using api::FieldErrors;
using api::quote;

void add_problems(const std::string& path, std::string_view value, const api::Problems& problems, FieldErrors& errors) {
  for (const std::string& problem : problems) errors.invalid(path, quote(value), problem);
}

void require_one_of(const std::string& path, const std::string& value, const std::vector<std::string>& allowed,
                    FieldErrors& errors) {
  if (value.empty()) errors.required(path);
  else if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) errors.not_supported(path, value, allowed);
}

void validate_port_number(int port, const std::string& path, FieldErrors& errors) {
  for (const std::string& problem : api::port_number_problems(port)) errors.invalid(path, std::to_string(port), problem);
}

void validate_ports(const api::Container& container, const std::string& path, FieldErrors& errors) {
  std::set<std::string> names;
  for (size_t i = 0; i < container.ports.size(); ++i) {
    const api::ContainerPort& port = container.ports[i];
    std::string at = fmt::format("{}.ports[{}]", path, i);
    if (!port.name.empty()) {
      add_problems(at + ".name", port.name, api::port_name_problems(port.name), errors);
      if (!names.insert(port.name).second) errors.duplicate(at + ".name", quote(port.name));
    }
    if (port.containerPort == 0) errors.required(at + ".containerPort");
    else validate_port_number(port.containerPort, at + ".containerPort", errors);
    if (port.hostPort != 0) validate_port_number(port.hostPort, at + ".hostPort", errors);
    require_one_of(at + ".protocol", port.protocol, {"SCTP", "TCP", "UDP"}, errors);
  }
}

void validate_env(const api::Container& container, const std::string& path, FieldErrors& errors) {
  for (size_t i = 0; i < container.env.size(); ++i) {
    const api::EnvVar& env = container.env[i];
    std::string at = fmt::format("{}.env[{}]", path, i);
    if (env.name.empty()) errors.required(at + ".name");
    else add_problems(at + ".name", env.name, api::env_var_name_problems(env.name), errors);
    if (!env.valueFrom) continue;
    const api::EnvVarSource& from = *env.valueFrom;
    int sources = (from.fieldRef ? 1 : 0) + (from.resourceFieldRef ? 1 : 0) + (from.configMapKeyRef ? 1 : 0) +
                  (from.secretKeyRef ? 1 : 0) + (from.fileKeyRef ? 1 : 0);
    if (!env.value.empty() && sources > 0)
      errors.invalid(at + ".valueFrom", "\"\"", "may not be specified when `value` is not empty");
    if (sources == 0) errors.invalid(at + ".valueFrom", "\"\"", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    if (sources > 1) errors.invalid(at + ".valueFrom", "\"\"", "may not have more than one field specified at a time");
  }
}

void validate_mounts(const api::Container& container, const api::PodSpec& spec, const std::string& path,
                     FieldErrors& errors) {
  std::set<std::string> paths;
  for (size_t i = 0; i < container.volumeMounts.size(); ++i) {
    const api::VolumeMount& mount = container.volumeMounts[i];
    std::string at = fmt::format("{}.volumeMounts[{}]", path, i);
    bool known = std::any_of(spec.volumes.begin(), spec.volumes.end(),
                             [&](const api::Volume& volume) { return volume.name == mount.name; });
    if (mount.name.empty()) errors.required(at + ".name");
    else if (!known) errors.not_found(at + ".name", quote(mount.name));
    if (mount.mountPath.empty()) errors.required(at + ".mountPath");
    else if (!paths.insert(mount.mountPath).second) errors.invalid(at + ".mountPath", quote(mount.mountPath), "must be unique");
    if (!mount.subPath.empty() && (mount.subPath.front() == '/' || mount.subPath.find("..") != std::string::npos))
      errors.invalid(at + ".subPath", quote(mount.subPath), mount.subPath.front() == '/' ? "must be a relative path" : "must not contain '..'");
  }
}

void validate_probe(const api::Box<api::Probe>& probe, const std::string& path, bool liveness, FieldErrors& errors) {
  if (!probe) return;
  int handlers = (probe->exec ? 1 : 0) + (probe->httpGet ? 1 : 0) + (probe->tcpSocket ? 1 : 0) + (probe->grpc ? 1 : 0);
  if (handlers == 0) errors.required(path, "must specify a handler type");
  if (handlers > 1) errors.forbidden(path, "may not specify more than 1 handler type");
  for (auto [value, name] : {std::pair{probe->initialDelaySeconds, ".initialDelaySeconds"},
                             {probe->timeoutSeconds, ".timeoutSeconds"},
                             {probe->periodSeconds, ".periodSeconds"},
                             {probe->successThreshold, ".successThreshold"},
                             {probe->failureThreshold, ".failureThreshold"}})
    require_nonnegative(value, path + name, errors);
  if (liveness && probe->successThreshold > 1)
    errors.invalid(path + ".successThreshold", std::to_string(probe->successThreshold), "must be 1");
}

void validate_resources(const api::ResourceRequirements& resources, const std::string& path, FieldErrors& errors) {
  auto check = [&](const std::map<std::string, api::Quantity>& list, const char* name) {
    for (const auto& [resource, quantity] : list) {
      std::string at = fmt::format("{}.{}[{}]", path, name, resource);
      add_problems(at, resource, api::qualified_name_problems(resource), errors);
      bool standard = resource == "cpu" || resource == "memory" || resource == "ephemeral-storage" ||
                      resource.starts_with("hugepages-") || resource.find('/') != std::string::npos;
      if (!standard) errors.invalid(at, quote(resource), "must be a standard resource type or fully qualified");
      if (quantity < api::Quantity::of(0)) errors.invalid(at, quote(quantity.text()), "must be greater than or equal to 0");
    }
  };
  check(resources.limits, "limits");
  check(resources.requests, "requests");
  for (const auto& [resource, request] : resources.requests) {
    auto limit = resources.limits.find(resource);
    if (limit != resources.limits.end() && limit->second < request)
      errors.invalid(path + ".requests", quote(request.text()),
                     fmt::format("must be less than or equal to {} limit of {}", resource, limit->second.text()));
  }
}

void validate_container(const api::Container& container, const api::PodSpec& spec, const std::string& path,
                        FieldErrors& errors) {
  if (container.name.empty()) errors.required(path + ".name");
  else add_problems(path + ".name", container.name, api::dns1123_label_problems(container.name), errors);
  if (container.image.empty()) errors.required(path + ".image");
  else if (container.image.find_first_of(" \t\n") == 0 || container.image.find_last_of(" \t\n") == container.image.size() - 1)
    errors.invalid(path + ".image", quote(container.image), "must not have leading or trailing whitespace");
  require_one_of(path + ".imagePullPolicy", container.imagePullPolicy, {"Always", "IfNotPresent", "Never"}, errors);
  require_one_of(path + ".terminationMessagePolicy", container.terminationMessagePolicy,
                 {"FallbackToLogsOnError", "File"}, errors);
  validate_ports(container, path, errors);
  validate_env(container, path, errors);
  validate_mounts(container, spec, path, errors);
  validate_resources(container.resources, path + ".resources", errors);
  validate_probe(container.livenessProbe, path + ".livenessProbe", true, errors);
  validate_probe(container.readinessProbe, path + ".readinessProbe", false, errors);
  validate_probe(container.startupProbe, path + ".startupProbe", true, errors);
}

void validate_volumes(const api::PodSpec& spec, const std::string& path, FieldErrors& errors) {
  std::set<std::string> names;
  for (size_t i = 0; i < spec.volumes.size(); ++i) {
    const api::Volume& volume = spec.volumes[i];
    std::string at = fmt::format("{}.volumes[{}]", path, i);
    if (volume.name.empty()) errors.required(at + ".name");
    else {
      add_problems(at + ".name", volume.name, api::dns1123_label_problems(volume.name), errors);
      if (!names.insert(volume.name).second) errors.duplicate(at + ".name", quote(volume.name));
    }
    if (volume.hostPath && volume.hostPath->path.empty()) errors.required(at + ".hostPath.path");
    if (volume.secret && volume.secret->secretName.empty()) errors.required(at + ".secret.secretName");
    if (volume.configMap && volume.configMap->name.empty()) errors.required(at + ".configMap.name");
    if (volume.persistentVolumeClaim && volume.persistentVolumeClaim->claimName.empty())
      errors.required(at + ".persistentVolumeClaim.claimName");
    int sources = 0;
    for (const api::FieldInfo& field : api::type_of<api::Volume>().fields)
      if (field.shape == api::Shape::Optional && field.ops->size(api::field_at(&volume, field)) > 0) ++sources;
    if (sources > 1) errors.forbidden(at, "may not specify more than 1 volume type");
  }
}

void validate_tolerations(const api::PodSpec& spec, const std::string& path, FieldErrors& errors) {
  for (size_t i = 0; i < spec.tolerations.size(); ++i) {
    const api::Toleration& one = spec.tolerations[i];
    std::string at = fmt::format("{}.tolerations[{}]", path, i);
    if (!one.key.empty()) add_problems(at + ".key", one.key, api::qualified_name_problems(one.key), errors);
    if (one.key.empty() && one.operator_ != "Exists")
      errors.invalid(at + ".operator", quote(one.operator_), "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
    if (one.operator_ == "Exists" && !one.value.empty())
      errors.invalid(at + ".operator", quote(one.value), "value must be empty when `operator` is 'Exists'");
    if (one.tolerationSeconds && one.effect != "NoExecute")
      errors.invalid(at + ".effect", quote(one.effect), "effect must be 'NoExecute' when `tolerationSeconds` is set");
    if (!one.effect.empty()) require_one_of(at + ".effect", one.effect, {"NoSchedule", "PreferNoSchedule", "NoExecute"}, errors);
  }
}

}  // namespace

void require_nonnegative(std::int64_t value, std::string path, FieldErrors& errors) {
  if (value < 0) errors.invalid(std::move(path), std::to_string(value), "must be greater than or equal to 0");
}

void validate_pod_spec(const api::PodSpec& spec, const std::string& path, FieldErrors& errors) {
  validate_volumes(spec, path, errors);
  if (spec.containers.empty()) errors.required(path + ".containers");
  std::set<std::string> names;
  auto each = [&](const std::vector<api::Container>& containers, const char* list) {
    for (size_t i = 0; i < containers.size(); ++i) {
      std::string at = fmt::format("{}.{}[{}]", path, list, i);
      validate_container(containers[i], spec, at, errors);
      if (!containers[i].name.empty() && !names.insert(containers[i].name).second)
        errors.duplicate(at + ".name", quote(containers[i].name));
    }
  };
  each(spec.containers, "containers");
  each(spec.initContainers, "initContainers");
  require_one_of(path + ".restartPolicy", spec.restartPolicy, {"Always", "OnFailure", "Never"}, errors);
  require_one_of(path + ".dnsPolicy", spec.dnsPolicy, {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"}, errors);
  if (spec.terminationGracePeriodSeconds && *spec.terminationGracePeriodSeconds < 0)
    require_nonnegative(*spec.terminationGracePeriodSeconds, path + ".terminationGracePeriodSeconds", errors);
  if (spec.activeDeadlineSeconds && *spec.activeDeadlineSeconds < 1)
    errors.invalid(path + ".activeDeadlineSeconds", std::to_string(*spec.activeDeadlineSeconds), "must be between 1 and 2147483647, inclusive");
  for (const auto& [key, value] : spec.nodeSelector) {
    add_problems(path + ".nodeSelector", key, api::qualified_name_problems(key), errors);
    add_problems(path + ".nodeSelector", value, api::label_value_problems(value), errors);
  }
  if (!spec.hostname.empty()) add_problems(path + ".hostname", spec.hostname, api::dns1123_label_problems(spec.hostname), errors);
  if (!spec.subdomain.empty()) add_problems(path + ".subdomain", spec.subdomain, api::dns1123_label_problems(spec.subdomain), errors);
  if (!spec.serviceAccountName.empty())
    add_problems(path + ".serviceAccountName", spec.serviceAccountName, api::dns1123_subdomain_problems(spec.serviceAccountName), errors);
  if (!spec.nodeName.empty()) add_problems(path + ".nodeName", spec.nodeName, api::dns1123_subdomain_problems(spec.nodeName), errors);
  validate_tolerations(spec, path, errors);
}

void validate_template(const api::PodTemplateSpec& pod_template, const std::string& path, FieldErrors& errors) {
  for (const auto& [key, value] : pod_template.metadata.labels) {
    add_problems(path + ".labels", key, api::qualified_name_problems(key), errors);
    add_problems(path + ".labels", value, api::label_value_problems(value), errors);
  }
  validate_pod_spec(pod_template.spec, path + ".spec", errors);
}

void validate_label_selector(const api::LabelSelector& selector, const std::string& path, FieldErrors& errors) {
  for (const auto& [key, value] : selector.matchLabels) {
    add_problems(path + ".matchLabels", key, api::qualified_name_problems(key), errors);
    add_problems(path + ".matchLabels", value, api::label_value_problems(value), errors);
  }
  for (size_t i = 0; i < selector.matchExpressions.size(); ++i) {
    const api::LabelSelectorRequirement& expression = selector.matchExpressions[i];
    std::string at = fmt::format("{}.matchExpressions[{}]", path, i);
    bool set = expression.operator_ == "In" || expression.operator_ == "NotIn";
    bool existence = expression.operator_ == "Exists" || expression.operator_ == "DoesNotExist";
    if (set && expression.values.empty())
      errors.required(at + ".values", "must be specified when `operator` is 'In' or 'NotIn'");
    if (existence && !expression.values.empty())
      errors.forbidden(at + ".values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    if (!set && !existence)
      errors.invalid(at + ".operator", quote(expression.operator_), "not a valid selector operator");
    add_problems(at + ".key", expression.key, api::qualified_name_problems(expression.key), errors);
  }
}

void validate_selector(const api::LabelSelector* selector, const api::PodTemplateSpec& pod_template,
                       FieldErrors& errors) {
  if (!selector) {
    errors.required("spec.selector");
    return;
  }
  validate_label_selector(*selector, "spec.selector", errors);
  if (selector->matchLabels.empty() && selector->matchExpressions.empty()) {
    errors.invalid("spec.selector", "{}", "empty selector is invalid for deployment");
    return;
  }
  Result<api::Selector> compiled = api::Selector::from(*selector);
  if (!compiled.ok() || compiled.value().matches(pod_template.metadata.labels)) return;
  std::string labels;
  for (const auto& [key, value] : pod_template.metadata.labels)
    labels += fmt::format("{}{}:{}", labels.empty() ? "" : ",", quote(key), quote(value));
  errors.invalid("spec.template.metadata.labels", "{" + labels + "}", "`selector` does not match template `labels`");
}

void require_restart_always(const api::PodTemplateSpec& pod_template, FieldErrors& errors) {
  if (pod_template.spec.restartPolicy != "Always")
    errors.not_supported("spec.template.spec.restartPolicy", pod_template.spec.restartPolicy, {"Always"});
}

}  // namespace skiff::registry
