// What the writer of a pod should know although it is valid (pkg/api/pod/warnings.go).

#include <algorithm>
#include <set>

#include "registry/kinds/pod_template.hpp"

namespace skiff::registry {
namespace {

using api::quote;

void add(const std::string& path, std::string_view text, Warnings& warnings) {
  warnings.push_back(fmt::format("{}: {}", path, text));
}

const char* deprecated_label(std::string_view label) {
  if (label == "beta.kubernetes.io/arch") return R"(deprecated since v1.14; use "kubernetes.io/arch" instead)";
  if (label == "beta.kubernetes.io/os") return R"(deprecated since v1.14; use "kubernetes.io/os" instead)";
  if (label == "failure-domain.beta.kubernetes.io/region")
    return R"(deprecated since v1.17; use "topology.kubernetes.io/region" instead)";
  if (label == "failure-domain.beta.kubernetes.io/zone")
    return R"(deprecated since v1.17; use "topology.kubernetes.io/zone" instead)";
  if (label == "beta.kubernetes.io/instance-type")
    return R"(deprecated since v1.17; use "node.kubernetes.io/instance-type" instead)";
  return nullptr;
}

void warn_about_term(const api::NodeSelectorTerm& term, const Path& path, Warnings& warnings) {
  for (size_t i = 0; i < term.matchExpressions.size(); ++i)
    if (const char* text = deprecated_label(term.matchExpressions[i].key)) {
      const Path at = path.child("matchExpressions", i);
      add(at.child("key"), fmt::format("{} is {}", term.matchExpressions[i].key, text), warnings);
    }
}

constexpr char kNullSelector[] = "a null labelSelector results in matching no pod";

template <class PodTerms>
void warn_about_pod_terms(const PodTerms& terms, const Path& path, Warnings& warnings) {
  for (size_t i = 0; i < terms.requiredDuringSchedulingIgnoredDuringExecution.size(); ++i) {
    if (terms.requiredDuringSchedulingIgnoredDuringExecution[i].labelSelector) continue;
    const Path at = path.child("requiredDuringSchedulingIgnoredDuringExecution", i);
    add(at.child("labelSelector"), kNullSelector, warnings);
  }
  for (size_t i = 0; i < terms.preferredDuringSchedulingIgnoredDuringExecution.size(); ++i) {
    if (terms.preferredDuringSchedulingIgnoredDuringExecution[i].podAffinityTerm.labelSelector) continue;
    const Path at = path.child("preferredDuringSchedulingIgnoredDuringExecution", i);
    add(at.child("podAffinityTerm.labelSelector"), kNullSelector, warnings);
  }
}

void warn_about_placement(const api::PodSpec& spec, const Path& path, Warnings& warnings) {
  for (const auto& [key, value] : spec.nodeSelector)
    if (const char* text = deprecated_label(key)) add(path.key("nodeSelector", key), text, warnings);
  for (size_t i = 0; i < spec.topologySpreadConstraints.size(); ++i) {
    const api::TopologySpreadConstraint& one = spec.topologySpreadConstraints[i];
    const Path at = path.child("topologySpreadConstraints", i);
    if (const char* text = deprecated_label(one.topologyKey))
      add(at.child("topologyKey"), fmt::format("{} is {}", one.topologyKey, text), warnings);
    if (!one.labelSelector) add(at.child("labelSelector"), kNullSelector, warnings);
  }
  if (!spec.affinity) return;
  const Path affinity = path.child("affinity");
  if (spec.affinity->nodeAffinity) {
    const Path nodes = affinity.child("nodeAffinity");
    const auto& required = spec.affinity->nodeAffinity->requiredDuringSchedulingIgnoredDuringExecution;
    const Path terms = nodes.child("requiredDuringSchedulingIgnoredDuringExecution");
    for (size_t i = 0; required && i < required->nodeSelectorTerms.size(); ++i)
      warn_about_term(required->nodeSelectorTerms[i], terms.child("nodeSelectorTerms", i), warnings);
    const auto& preferred = spec.affinity->nodeAffinity->preferredDuringSchedulingIgnoredDuringExecution;
    for (size_t i = 0; i < preferred.size(); ++i) {
      const Path at = nodes.child("preferredDuringSchedulingIgnoredDuringExecution", i);
      warn_about_term(preferred[i].preference, at.child("preference"), warnings);
    }
  }
  if (spec.affinity->podAffinity)
    warn_about_pod_terms(*spec.affinity->podAffinity, affinity.child("podAffinity"), warnings);
  if (spec.affinity->podAntiAffinity)
    warn_about_pod_terms(*spec.affinity->podAntiAffinity, affinity.child("podAntiAffinity"), warnings);
}

void warn_about_annotations(const api::ObjectMeta& metadata, const api::PodSpec& spec, const Path& path,
                            Warnings& warnings) {
  if (metadata.annotations.empty()) return;
  const Path at = path.child("metadata");
  auto warn = [&](const std::string& key, const char* text) {
    if (metadata.annotations.contains(key)) add(at.key("annotations", key), text, warnings);
  };
  warn("scheduler.alpha.kubernetes.io/critical-pod",
       "non-functional in v1.16+; use the \"priorityClassName\" field instead");
  warn("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead");
  warn("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead");
  constexpr char kSeccomp[] = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
  if (!spec.securityContext || !spec.securityContext->seccompProfile)
    warn("seccomp.security.alpha.kubernetes.io/pod", kSeccomp);
  for (const auto* containers : {&spec.initContainers, &spec.containers})
    for (const api::Container& container : *containers) {
      if (!container.securityContext || !container.securityContext->seccompProfile)
        warn("container.seccomp.security.alpha.kubernetes.io/" + container.name, kSeccomp);
      bool field = (spec.securityContext && spec.securityContext->appArmorProfile) ||
                   (container.securityContext && container.securityContext->appArmorProfile);
      if (!field)
        warn("container.apparmor.security.beta.kubernetes.io/" + container.name,
             "deprecated since v1.30; use the \"appArmorProfile\" field instead");
    }
}

void warn_about_volumes(const api::PodSpec& spec, const Path& path, Warnings& warnings) {
  for (size_t i = 0; i < spec.volumes.size(); ++i) {
    const api::Volume& volume = spec.volumes[i];
    const Path at = path.child("volumes", i);
    if (volume.photonPersistentDisk)
      add(at.child("photonPersistentDisk"), "deprecated in v1.11, non-functional in v1.16+", warnings);
    if (volume.gitRepo) add(at.child("gitRepo"), "deprecated in v1.11, and disabled by default in v1.33+", warnings);
    if (volume.scaleIO) add(at.child("scaleIO"), "deprecated in v1.16, non-functional in v1.22+", warnings);
    if (volume.flocker) add(at.child("flocker"), "deprecated in v1.22, non-functional in v1.25+", warnings);
    if (volume.storageos) add(at.child("storageOS"), "deprecated in v1.22, non-functional in v1.25+", warnings);
    if (volume.quobyte) add(at.child("quobyte"), "deprecated in v1.22, non-functional in v1.25+", warnings);
    if (volume.glusterfs) add(at.child("glusterfs"), "deprecated in v1.25, non-functional in v1.26+", warnings);
    if (volume.cephfs) add(at.child("cephfs"), "deprecated in v1.28, non-functional in v1.31+", warnings);
    if (volume.rbd) add(at.child("rbd"), "deprecated in v1.28, non-functional in v1.31+", warnings);
  }
}

void warn_about_lists(const api::PodSpec& spec, const Path& path, Warnings& warnings) {
  std::set<std::string_view> seen;
  for (size_t i = 0; i < spec.hostAliases.size(); ++i)
    if (!seen.insert(spec.hostAliases[i].ip).second) {
      const Path at = path.child("hostAliases", i);
      add(at.child("ip"), fmt::format("duplicate ip {}", quote(spec.hostAliases[i].ip)), warnings);
    }
  seen.clear();
  for (size_t i = 0; i < spec.imagePullSecrets.size(); ++i) {
    const std::string& name = spec.imagePullSecrets[i].name;
    const Path at = path.child("imagePullSecrets", i);
    if (!seen.insert(name).second) add(at.child("name"), fmt::format("duplicate name {}", quote(name)), warnings);
    if (name.empty()) add(at.child("name"), "invalid empty name \"\"", warnings);
  }
}

void warn_about_fractions(const std::map<std::string, api::Quantity>& amounts, const char* list, const Path& path,
                          Warnings& warnings) {
  for (const char* resource : {"memory", "ephemeral-storage"})
    if (auto amount = amounts.find(resource); amount != amounts.end() && amount->second.milli() % 1000 != 0)
      add(path.key(list, resource),
          fmt::format("fractional byte value {} is invalid, must be an integer", quote(amount->second.text())),
          warnings);
}

void warn_about_environment(const api::Container& container, const Path& path, Warnings& warnings) {
  if (container.env.size() < 2) return;
  std::set<std::string_view> seen;
  for (size_t i = 0; i < container.env.size(); ++i) {
    const api::EnvVar& env = container.env[i];
    if (seen.insert(env.name).second) continue;
    const std::string reference = "$(" + env.name + ")";
    bool extends = !env.valueFrom && env.value != reference && env.value.find(reference) != std::string::npos;
    if (!extends)
      add(path.child("env", i),
          fmt::format("hides previous definition of {}, which may be dropped when using apply", quote(env.name)),
          warnings);
  }
}

// Ports of all containers, with where each was defined.
class SeenPorts {
 public:
  void add_all(const api::Container& container, const Path& path, Warnings& warnings) {
    for (size_t i = 0; i < container.ports.size(); ++i) {
      const api::ContainerPort& port = container.ports[i];
      const std::string at = path.child("ports", i);
      if (!port.hostIP.empty() && port.hostPort == 0)
        add(at, fmt::format("hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} HostIP:{}}}",
                            port.name, port.containerPort, port.protocol, port.hostIP),
            warnings);
      for (const auto& [other, where] : seen_) compare(port, at, *other, where, warnings);
      seen_.push_back({&port, at});
    }
  }

 private:
  static void compare(const api::ContainerPort& port, const std::string& at, const api::ContainerPort& other,
                      const std::string& where, Warnings& warnings) {
    if (port.containerPort != other.containerPort || port.protocol != other.protocol) return;
    if (port.hostIP == other.hostIP && port.hostPort == other.hostPort)
      add(at, "duplicate port definition with " + where, warnings);
    else if (port.hostPort == 0 || other.hostPort == 0)
      add(at, "overlapping port definition with " + where, warnings);
    else if (port.hostPort == other.hostPort && (port.hostIP.empty() || other.hostIP.empty()))
      add(at, "overlapping port definition with " + where, warnings);
  }

  std::vector<std::pair<const api::ContainerPort*, std::string>> seen_;
};

}  // namespace

void warn_about_pod(const api::ObjectMeta& metadata, const api::PodSpec& spec, const Path& path, Warnings& warnings) {
  const Path at = path.child("spec");
  warn_about_placement(spec, at, warnings);
  warn_about_annotations(metadata, spec, path, warnings);
  warn_about_volumes(spec, at, warnings);
  warn_about_lists(spec, at, warnings);
  SeenPorts ports;
  auto each = [&](const std::vector<api::Container>& containers, const char* list) {
    for (size_t i = 0; i < containers.size(); ++i) {
      const Path container = at.child(list, i);
      const Path resources = container.child("resources");
      warn_about_fractions(containers[i].resources.limits, "limits", resources, warnings);
      warn_about_fractions(containers[i].resources.requests, "requests", resources, warnings);
      warn_about_environment(containers[i], container, warnings);
      ports.add_all(containers[i], container, warnings);
    }
  };
  each(spec.initContainers, "initContainers");
  each(spec.containers, "containers");
  if (spec.terminationGracePeriodSeconds.value_or(0) < 0)
    add(at.child("terminationGracePeriodSeconds"),
        "must be >= 0; negative values are invalid and will be treated as 1", warnings);
}

}  // namespace skiff::registry
