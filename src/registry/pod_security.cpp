#include "registry/pod_security.hpp"

#include <algorithm>
#include <charconv>
#include <functional>
#include <set>

#include "api/gen/volume.hpp"
#include "api/status.hpp"
#include "base/encoding.hpp"

namespace skiff::registry {
namespace {

using Names = std::vector<std::string>;
using NameSet = std::set<std::string>;
using MaybeViolation = std::optional<Violation>;

struct Subject {
  const api::ObjectMeta& metadata;
  const api::PodSpec& spec;
  int minor;
};

std::string quoted(const Names& names) {
  Names all;
  for (const std::string& name : names) all.push_back(api::quote(name));
  return join(all, ", ");
}
std::string quoted(const NameSet& names) { return quoted(Names(names.begin(), names.end())); }

const char* plural(size_t count, const char* one, const char* many) { return count == 1 ? one : many; }

std::string containers(const Names& names) {
  return fmt::format("{} {}", plural(names.size(), "container", "containers"), quoted(names));
}

// All containers in the order of their fields; an ephemeral one has the same fields that matter.
void each_container(const api::PodSpec& spec, const std::function<void(const api::Container&)>& visit) {
  for (const api::Container& one : spec.initContainers) visit(one);
  for (const api::Container& one : spec.containers) visit(one);
  for (const api::EphemeralContainer& one : spec.ephemeralContainers) {
    api::Container same;
    same.name = one.name;
    same.ports = one.ports;
    same.securityContext = one.securityContext;
    same.livenessProbe = one.livenessProbe;
    same.readinessProbe = one.readinessProbe;
    same.startupProbe = one.startupProbe;
    same.lifecycle = one.lifecycle;
    visit(same);
  }
}

Names containers_that(const api::PodSpec& spec, const std::function<bool(const api::Container&)>& test) {
  Names names;
  each_container(spec, [&](const api::Container& one) {
    if (test(one)) names.push_back(one.name);
  });
  return names;
}

Names containers_whose_context(const api::PodSpec& spec, const std::function<bool(const api::SecurityContext&)>& test) {
  return containers_that(spec, [&](const api::Container& one) { return one.securityContext && test(*one.securityContext); });
}

// "pod and container "c"", of those that set something badly.
std::string setters(bool pod, const Names& names) {
  Names all;
  if (pod) all.emplace_back("pod");
  if (!names.empty()) all.push_back(containers(names));
  return join(all, " and ");
}

bool is_windows(const api::PodSpec& spec) { return spec.os && spec.os->name == "windows"; }
bool has_user_namespace(const Subject& pod) { return pod.minor >= 35 && !pod.spec.hostUsers.value_or(true); }

// ---- baseline

MaybeViolation app_armor(const Subject& pod) {
  NameSet annotated, types;
  for (const auto& [key, value] : pod.metadata.annotations) {
    bool bad = key.starts_with("container.apparmor.security.beta.kubernetes.io/") && !value.empty() &&
               value != "runtime/default" && !value.starts_with("localhost/");
    if (bad) annotated.insert(key + "=" + api::quote(value));
  }
  auto bad = [&](const auto& profile) {
    if (!profile || profile->type == "RuntimeDefault" || profile->type == "Localhost") return false;
    types.insert(profile->type);
    return true;
  };
  bool own = pod.spec.securityContext && bad(pod.spec.securityContext->appArmorProfile);
  Names names = containers_whose_context(pod.spec, [&](const auto& context) { return bad(context.appArmorProfile); });
  Names details;
  if (own || !names.empty())
    details.push_back(setters(own, names) + " must not set AppArmor profile type to " + quoted(types));
  details.insert(details.end(), annotated.begin(), annotated.end());
  if (details.empty()) return {};
  size_t count = annotated.size() + types.size();
  return Violation{plural(count, "forbidden AppArmor profile", "forbidden AppArmor profiles"), join(details, ", ")};
}

MaybeViolation baseline_capabilities(const Subject& pod) {
  static const NameSet kAllowed = {"AUDIT_WRITE", "CHOWN",  "DAC_OVERRIDE", "FOWNER", "FSETID",  "KILL",      "MKNOD",
                                   "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"};
  NameSet bad;
  Names names = containers_whose_context(pod.spec, [&](const api::SecurityContext& context) {
    bool any = false;
    if (!context.capabilities) return any;
    for (const std::string& one : context.capabilities->add)
      if (!kAllowed.contains(one)) bad.insert(one), any = true;
    return any;
  });
  if (names.empty()) return {};
  return Violation{"non-default capabilities", fmt::format("{} must not include {} in securityContext.capabilities.add",
                                                           containers(names), quoted(bad))};
}

MaybeViolation host_namespaces(const Subject& pod) {
  Names set;
  if (pod.spec.hostNetwork) set.emplace_back("hostNetwork=true");
  if (pod.spec.hostPID) set.emplace_back("hostPID=true");
  if (pod.spec.hostIPC) set.emplace_back("hostIPC=true");
  if (set.empty()) return {};
  return Violation{"host namespaces", join(set, ", ")};
}

MaybeViolation host_paths(const Subject& pod) {
  Names names;
  for (const api::Volume& volume : pod.spec.volumes)
    if (volume.hostPath) names.push_back(volume.name);
  if (names.empty()) return {};
  return Violation{"hostPath volumes", fmt::format("{} {}", plural(names.size(), "volume", "volumes"), quoted(names))};
}

MaybeViolation host_ports(const Subject& pod) {
  NameSet ports;
  Names names = containers_that(pod.spec, [&](const api::Container& one) {
    bool any = false;
    for (const api::ContainerPort& port : one.ports)
      if (port.hostPort != 0) ports.insert(std::to_string(port.hostPort)), any = true;
    return any;
  });
  if (names.empty()) return {};
  return Violation{"hostPort", fmt::format("{} {} {} {}", containers(names), plural(names.size(), "uses", "use"),
                                           plural(ports.size(), "hostPort", "hostPorts"),
                                           join(Names(ports.begin(), ports.end()), ", "))};
}

MaybeViolation host_probes(const Subject& pod) {
  if (pod.minor < 34) return {};
  NameSet hosts, names;
  each_container(pod.spec, [&](const api::Container& one) {
    auto look = [&](const auto& handler) {
      if (!handler) return;
      for (const std::string& host : {handler->httpGet ? handler->httpGet->host : "",
                                      handler->tcpSocket ? handler->tcpSocket->host : ""})
        if (!host.empty()) hosts.insert(host), names.insert(one.name);
    };
    look(one.livenessProbe);
    look(one.readinessProbe);
    look(one.startupProbe);
    if (!one.lifecycle) return;
    look(one.lifecycle->postStart);
    look(one.lifecycle->preStop);
  });
  if (names.empty()) return {};
  return Violation{"probe or lifecycle host",
                   fmt::format("{} {} {} {}", containers(Names(names.begin(), names.end())),
                               plural(names.size(), "uses", "use"),
                               plural(hosts.size(), "probe or lifecycle host", "probe or lifecycle hosts"),
                               quoted(hosts))};
}

MaybeViolation privileged(const Subject& pod) {
  Names names = containers_whose_context(pod.spec, [](const auto& context) { return context.privileged.value_or(false); });
  if (names.empty()) return {};
  return Violation{"privileged", containers(names) + " must not set securityContext.privileged=true"};
}

MaybeViolation proc_mount(const Subject& pod) {
  NameSet types;
  Names names = containers_whose_context(pod.spec, [&](const api::SecurityContext& context) {
    if (context.procMount.empty() || context.procMount == "Default") return false;
    types.insert(context.procMount);
    return true;
  });
  if (names.empty()) return {};
  return Violation{"procMount", containers(names) + " must not set securityContext.procMount to " + quoted(types)};
}

MaybeViolation baseline_proc_mount(const Subject& pod) {
  return has_user_namespace(pod) ? MaybeViolation() : proc_mount(pod);
}

MaybeViolation selinux(const Subject& pod) {
  NameSet types;
  bool user = false, role = false;
  auto bad = [&](const auto& options) {
    if (!options) return false;
    const std::string& type = options->type;
    bool known = type.empty() || type == "container_t" || type == "container_init_t" || type == "container_kvm_t" ||
                 (pod.minor >= 31 && type == "container_engine_t");
    if (!known) types.insert(type);
    user = user || !options->user.empty();
    role = role || !options->role.empty();
    return !known || !options->user.empty() || !options->role.empty();
  };
  bool own = pod.spec.securityContext && bad(pod.spec.securityContext->seLinuxOptions);
  Names names = containers_whose_context(pod.spec, [&](const auto& context) { return bad(context.seLinuxOptions); });
  if (!own && names.empty()) return {};
  Names data;
  if (!types.empty()) data.push_back(fmt::format("{} {}", plural(types.size(), "type", "types"), quoted(types)));
  if (user) data.emplace_back("user may not be set");
  if (role) data.emplace_back("role may not be set");
  return Violation{"seLinuxOptions", setters(own, names) + " set forbidden securityContext.seLinuxOptions: " +
                                         join(data, "; ")};
}

bool is_confined(const auto& profile) { return profile->type == "RuntimeDefault" || profile->type == "Localhost"; }

MaybeViolation baseline_seccomp(const Subject& pod) {
  if (pod.minor < 19) return {};
  NameSet types;
  auto bad = [&](const auto& profile) { return profile && !is_confined(profile) && (types.insert(profile->type), true); };
  bool own = pod.spec.securityContext && bad(pod.spec.securityContext->seccompProfile);
  Names names = containers_whose_context(pod.spec, [&](const auto& context) { return bad(context.seccompProfile); });
  if (!own && names.empty()) return {};
  return Violation{"seccompProfile", setters(own, names) + " must not set securityContext.seccompProfile.type to " +
                                         quoted(types)};
}

bool is_safe_sysctl(const std::string& name, int minor) {
  static const std::map<std::string, int> kSince = {
      {"kernel.shm_rmid_forced", 0},           {"net.ipv4.ip_local_port_range", 0},
      {"net.ipv4.tcp_syncookies", 0},          {"net.ipv4.ping_group_range", 0},
      {"net.ipv4.ip_unprivileged_port_start", 0}, {"net.ipv4.ip_local_reserved_ports", 27},
      {"net.ipv4.tcp_keepalive_time", 29},     {"net.ipv4.tcp_fin_timeout", 29},
      {"net.ipv4.tcp_keepalive_intvl", 29},    {"net.ipv4.tcp_keepalive_probes", 29},
      {"net.ipv4.tcp_rmem", 32},               {"net.ipv4.tcp_wmem", 32}};
  auto found = kSince.find(name);
  return found != kSince.end() && minor >= found->second;
}

MaybeViolation sysctls(const Subject& pod) {
  Names names;
  if (pod.spec.securityContext)
    for (const api::Sysctl& one : pod.spec.securityContext->sysctls)
      if (!is_safe_sysctl(one.name, pod.minor)) names.push_back(one.name);
  if (names.empty()) return {};
  return Violation{"forbidden sysctls", join(names, ", ")};
}

MaybeViolation host_process(const Subject& pod) {
  auto bad = [](const auto& options) { return options && options->hostProcess.value_or(false); };
  bool own = pod.spec.securityContext && bad(pod.spec.securityContext->windowsOptions);
  Names names = containers_whose_context(pod.spec, [&](const auto& context) { return bad(context.windowsOptions); });
  if (!own && names.empty()) return {};
  return Violation{"hostProcess", setters(own, names) + " must not set securityContext.windowsOptions.hostProcess=true"};
}

// ---- restricted

MaybeViolation privilege_escalation(const Subject& pod) {
  if (pod.minor < 8 || (pod.minor >= 25 && is_windows(pod.spec))) return {};
  Names names = containers_that(pod.spec, [](const api::Container& one) {
    return !one.securityContext || one.securityContext->allowPrivilegeEscalation.value_or(true);
  });
  if (names.empty()) return {};
  return Violation{"allowPrivilegeEscalation != false",
                   containers(names) + " must set securityContext.allowPrivilegeEscalation=false"};
}

MaybeViolation restricted_capabilities(const Subject& pod) {
  if (pod.minor < 22) return baseline_capabilities(pod);
  if (pod.minor >= 25 && is_windows(pod.spec)) return {};
  NameSet bad;
  Names keeping, adding;
  each_container(pod.spec, [&](const api::Container& one) {
    const api::Capabilities none;
    const api::Capabilities& own =
        one.securityContext && one.securityContext->capabilities ? *one.securityContext->capabilities : none;
    if (std::find(own.drop.begin(), own.drop.end(), "ALL") == own.drop.end()) keeping.push_back(one.name);
    bool any = false;
    for (const std::string& name : own.add)
      if (name != "NET_BIND_SERVICE") bad.insert(name), any = true;
    if (any) adding.push_back(one.name);
  });
  Names details;
  if (!keeping.empty()) details.push_back(containers(keeping) + " must set securityContext.capabilities.drop=[\"ALL\"]");
  if (!adding.empty())
    details.push_back(fmt::format("{} must not include {} in securityContext.capabilities.add", containers(adding), quoted(bad)));
  if (details.empty()) return {};
  return Violation{"unrestricted capabilities", join(details, "; ")};
}

std::string restricted_type(const api::Volume& volume) {
  if (volume.configMap || volume.csi || volume.downwardAPI || volume.emptyDir || volume.ephemeral ||
      volume.persistentVolumeClaim || volume.projected || volume.secret)
    return "";
  if (volume.image) return "image";
  for (const api::FieldInfo& field : api::type_of<api::Volume>().fields)
    if (field.shape == api::Shape::Optional && field.ops->size(api::field_at(&volume, field)) > 0) return field.name;
  return "unknown";
}

MaybeViolation restricted_volumes(const Subject& pod) {
  Names names;
  NameSet types;
  for (const api::Volume& volume : pod.spec.volumes) {
    std::string type = restricted_type(volume);
    if (type.empty() || (type == "image" && pod.minor >= 35)) continue;
    names.push_back(volume.name);
    types.insert(type);
  }
  if (names.empty()) return {};
  return Violation{"restricted volume types",
                   fmt::format("{} {} {} {} {}", plural(names.size(), "volume", "volumes"), quoted(names),
                               plural(names.size(), "uses", "use"),
                               plural(types.size(), "restricted volume type", "restricted volume types"), quoted(types))};
}

MaybeViolation run_as_non_root(const Subject& pod) {
  if (has_user_namespace(pod)) return {};
  const auto own = pod.spec.securityContext ? pod.spec.securityContext->runAsNonRoot : std::nullopt;
  Names explicitly = containers_whose_context(pod.spec, [](const auto& context) { return !context.runAsNonRoot.value_or(true); });
  if (!own.value_or(true) || !explicitly.empty())
    return Violation{"runAsNonRoot != true",
                     setters(!own.value_or(true), explicitly) + " must not set securityContext.runAsNonRoot=false"};
  Names silent = containers_that(pod.spec, [&](const api::Container& one) {
    return !own && !(one.securityContext && one.securityContext->runAsNonRoot);
  });
  if (silent.empty()) return {};
  return Violation{"runAsNonRoot != true", "pod or " + containers(silent) + " must set securityContext.runAsNonRoot=true"};
}

MaybeViolation run_as_user(const Subject& pod) {
  if (pod.minor < 23 || has_user_namespace(pod)) return {};
  bool own = pod.spec.securityContext && pod.spec.securityContext->runAsUser.value_or(1) == 0;
  Names names = containers_whose_context(pod.spec, [](const auto& context) { return context.runAsUser.value_or(1) == 0; });
  if (!own && names.empty()) return {};
  return Violation{"runAsUser=0", setters(own, names) + " must not set runAsUser=0"};
}

MaybeViolation restricted_seccomp(const Subject& pod) {
  if (pod.minor < 19 || (pod.minor >= 25 && is_windows(pod.spec))) return {};
  if (MaybeViolation bad = baseline_seccomp(pod)) return bad;
  bool own = pod.spec.securityContext && pod.spec.securityContext->seccompProfile;
  Names silent = containers_that(pod.spec, [&](const api::Container& one) {
    return !own && !(one.securityContext && one.securityContext->seccompProfile);
  });
  if (silent.empty()) return {};
  return Violation{"seccompProfile", "pod or " + containers(silent) +
                                         " must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""};
}

using Rule = MaybeViolation (*)(const Subject&);

// Sorted by the names Kubernetes gives them.
constexpr Rule kBaseline[] = {app_armor,   baseline_capabilities, host_namespaces, host_paths,       host_ports, host_probes,
                              privileged,  baseline_proc_mount,   selinux,         baseline_seccomp, sysctls,    host_process};
// What only restricted asks for, after what it shares with baseline and does not ask more strictly itself.
constexpr Rule kShared[] = {app_armor, host_namespaces, host_ports, host_probes, privileged, selinux, sysctls, host_process};
constexpr Rule kRestricted[] = {privilege_escalation, restricted_capabilities, proc_mount, restricted_volumes,
                                run_as_non_root,      run_as_user,             restricted_seccomp};

}  // namespace

std::optional<SecurityLevel> security_level(std::string_view text) {
  if (text == "privileged") return SecurityLevel::Privileged;
  if (text == "baseline") return SecurityLevel::Baseline;
  if (text == "restricted") return SecurityLevel::Restricted;
  return {};
}

std::optional<int> security_version(std::string_view text) {
  if (text == "latest") return SecurityPolicy::kLatest;
  if (!text.starts_with("v1.") || text.size() < 4 || (text[3] == '0' && text.size() > 4)) return {};
  int minor = 0;
  auto [end, failure] = std::from_chars(text.data() + 3, text.data() + text.size(), minor);
  if (failure != std::errc() || end != text.data() + text.size() || minor < 0) return {};
  return minor;
}

std::string SecurityPolicy::text() const {
  const char* names[] = {"privileged", "baseline", "restricted"};
  return fmt::format("{}:{}", names[static_cast<int>(level)], minor == kLatest ? "latest" : "v1." + std::to_string(minor));
}

std::vector<Violation> security_violations(const SecurityPolicy& policy, const api::ObjectMeta& metadata,
                                           const api::PodSpec& spec) {
  std::vector<Violation> all;
  const Subject subject{metadata, spec, policy.minor};
  auto apply = [&](std::span<const Rule> rules) {
    for (Rule rule : rules)
      if (MaybeViolation found = rule(subject)) all.push_back(std::move(*found));
  };
  if (policy.level == SecurityLevel::Baseline) apply(kBaseline);
  if (policy.level != SecurityLevel::Restricted) return all;
  apply(kShared);
  apply(kRestricted);
  return all;
}

}  // namespace skiff::registry
